/** What tests of real servers over the shipped model need: a folder to run in, requests, and a key. */
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { ROOT, temporaryFolder } from './folders.js'
import { binaryRequest } from './wire.js'
import type { TestContext } from 'node:test'

export const SIGNS_KEY = 'a-key-for-the-tests-only'
export const AUTHORIZED = { authorization: `Bearer ${SIGNS_KEY}` }

/** A fresh folder with a copy of the shipped domains, and settings for a server in it. */
export async function signsFolder (
  t: Pick<TestContext, 'after'>
): Promise<{ folder: string, settings: Record<string, string> }> {
  const folder = await temporaryFolder(t)
  await cp(join(ROOT, 'domains'), join(folder, 'domains'), { recursive: true })
  return {
    folder,
    settings: {
      BANKSWITCH_MODELS_DIR: join(ROOT, 'models'),
      BANKSWITCH_CACHE_DIR: join(ROOT, 'build', 'test-cache'),
      BANKSWITCH_ADMIN_KEY: SIGNS_KEY,
      BANKSWITCH_WORKERS: '1'
    }
  }
}

export interface Answer {
  status: number
  /** Of an error. */
  code: string | undefined
  bytes: Buffer
}

/** Asks for an inference of the same pixels each time. */
export async function inferSigns (
  address: string, domain: string, more: { rows?: number, headers?: Record<string, string> } = {}
): Promise<Answer> {
  const { rows = 1, headers: extra = {} } = more
  const values = Float32Array.from({ length: rows * 3072 }, (_, at) => Math.cos(at))
  const { payload, headers } = binaryRequest({ shape: [rows, 3, 32, 32], values })
  return await answerOf(fetch(`${address}/v2/models/traffic-signs/infer`, {
    method: 'POST', body: new Uint8Array(payload), headers: { ...headers, 'x-domain': domain, ...extra }
  }))
}

export async function registerSigns (address: string, domain: string, bank: Uint8Array): Promise<Answer> {
  return await answerOf(fetch(`${address}/admin/models/traffic-signs/domains/${domain}`, {
    method: 'PUT', headers: { ...AUTHORIZED, 'content-type': 'application/octet-stream' }, body: new Uint8Array(bank)
  }))
}

export async function getSigns (address: string, path: string): Promise<Answer> {
  return await answerOf(fetch(`${address}${path}`, { headers: AUTHORIZED }))
}

async function answerOf (asked: Promise<Response>): Promise<Answer> {
  const response = await asked
  const bytes = Buffer.from(await response.arrayBuffer())
  const isError = response.status >= 400 && response.headers.get('content-type') === 'application/json'
  const code = isError ? (JSON.parse(bytes.toString()) as { code: string }).code : undefined
  return { status: response.status, code, bytes }
}
