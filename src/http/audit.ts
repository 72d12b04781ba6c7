/**
 * Every admin call, let in or refused for any reason but a missing key, goes into the audit log before it is answered.
 * A change that cannot be recorded is answered as failed, though it has been made: nobody is to rely on it unseen.
 */
import { AuditLog } from '../observability/audit-log.js'
import { isAdminCall } from './access/route-access.js'
import { recordOf } from './request-record.js'
import type { App } from './app-type.js'
import type { Disk } from '../base/durable-change.js'
import type { AuditEntry } from '../observability/audit-log.js'
import type { FastifyReply, FastifyRequest } from 'fastify'

const UNAUTHENTICATED = 401

const FAILED = 400

/** A call that changed something or was refused, and when. */
export type RecentCall = AuditEntry & { time: string }

const RECENT_MAX = 200

/**
 * With `isLogged` each call goes to the log as well, for a collector that has the logs of several servers. Gives the
 * last calls that changed something or were refused, newest first. Throws AUDIT_UNWRITABLE.
 */
export async function addAudit (
  app: App, path: string, isLogged: boolean, disk?: Disk
): Promise<() => readonly RecentCall[]> {
  const recent: RecentCall[] = []
  const log = new AuditLog(path, disk)
  await log.open()
  // The answer to a failure to write must not be the next attempt.
  const attempted = new WeakSet<FastifyRequest>()
  app.addHook('onSend', (request, reply, _payload, done) => {
    if (!isAdminCall(request) || reply.statusCode === UNAUTHENTICATED || attempted.has(request)) return done()
    attempted.add(request)
    return recordCall(request, reply)
  })
  const recordCall = async (request: FastifyRequest, reply: FastifyReply) => {
    const entry = entryOf(request, reply)
    if (isLogged) request.log.info({ audit: entry }, 'admin call')
    if (request.method !== 'GET' || entry.status >= FAILED) {
      recent.unshift({ time: new Date().toISOString(), ...entry })
      recent.splice(RECENT_MAX)
    }
    try {
      await log.append(entry)
    } catch (error) {
      // A refusal has changed nothing, and its own reason is what the caller must learn.
      if (reply.statusCode < FAILED) throw error
      request.log.error({ err: error }, 'a refused admin call could not be recorded')
    }
  }
  return () => recent
}

function entryOf (request: FastifyRequest, { statusCode }: FastifyReply): AuditEntry {
  const { address, keyId, model, domain, version, code } = recordOf(request)
  return {
    requestId: request.id,
    address,
    ...(keyId === undefined ? {} : { keyId }),
    method: request.method,
    path: request.url.split('?')[0]!.slice(0, 500),
    ...(model === undefined ? {} : { model }),
    ...(domain === undefined ? {} : { domain }),
    ...(version === undefined ? {} : { version }),
    status: statusCode,
    outcome: code ?? 'ok'
  }
}
