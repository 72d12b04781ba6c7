/**
 * Every admin call, let in or refused for any reason but a missing key, goes into the audit log before it is answered.
 * A change that cannot be recorded is answered as failed, though it has been made: nobody is to rely on it unseen.
 */
import { AuditLog } from '../observability/audit-log.js'
import { kindOf } from './access/route-access.js'
import { modelOf } from './request-domain.js'
import { recordOf } from './request-record.js'
import type { App } from './app-type.js'
import type { AuditEntry } from '../observability/audit-log.js'
import type { FastifyReply, FastifyRequest } from 'fastify'

const UNAUTHENTICATED = 401

const FAILED = 400

/** Answers beyond are downloads and lists, whose content tells nothing of the outcome. */
const READ_BYTES_MAX = 65_536

/** Throws AUDIT_UNWRITABLE. */
export async function addAudit (app: App, path: string): Promise<void> {
  const log = new AuditLog(path)
  await log.open()
  // The answer to a failure to write must not be the next attempt.
  const attempted = new WeakSet<FastifyRequest>()
  app.addHook('onSend', async (request, reply, payload) => {
    const isAdmin = kindOf(request.method, request.routeOptions.url ?? '') === 'administration'
    if (!isAdmin || reply.statusCode === UNAUTHENTICATED || attempted.has(request)) return
    attempted.add(request)
    try {
      await log.append(entryOf(request, reply, payload))
    } catch (error) {
      // A refusal has changed nothing, and its own reason is what the caller must learn.
      if (reply.statusCode < FAILED) throw error
      request.log.error({ err: error }, 'a refused admin call could not be recorded')
    }
  })
}

function entryOf (request: FastifyRequest, { statusCode }: FastifyReply, payload: unknown): AuditEntry {
  const { keyId } = recordOf(request)
  const answer = answerOf(payload)
  const { model: path, domain: named, version: pinned } = (request.params ?? {}) as Record<string, string | undefined>
  const [inPath, versionInPath] = path?.split('@')[1]?.split(':') ?? []
  const domain = named ?? inPath
  const { version: asked } = (request.body ?? {}) as { version?: unknown }
  const version = [pinned, asked, versionInPath, answer.version, answer.details?.version, answer.active].find(isVersion)
  return {
    requestId: request.id,
    ...(keyId === undefined ? {} : { keyId }),
    method: request.method,
    path: request.url.split('?')[0]!.slice(0, 500),
    ...(path === undefined ? {} : { model: modelOf(path) }),
    ...(domain === undefined ? {} : { domain }),
    ...(version === undefined ? {} : { version }),
    status: statusCode,
    outcome: answer.code ?? 'ok'
  }
}

interface Answer {
  code?: string
  version?: unknown
  active?: unknown
  details?: { version?: unknown }
}

function answerOf (payload: unknown): Answer {
  if (typeof payload !== 'string' || payload.length > READ_BYTES_MAX || !payload.startsWith('{')) return {}
  return JSON.parse(payload) as Answer
}

function isVersion (value: unknown): value is number | string {
  return typeof value === 'number' || typeof value === 'string'
}
