/** What tests of real servers over the shipped model need: a folder to run in, requests, and a key. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { testCache } from './cache.js'
import { ROOT, shipSigns, temporaryFolder } from './folders.js'
import { binaryRequest } from './wire.js'
import type { TestContext } from 'node:test'

export const SIGNS_KEY = 'a-key-for-the-tests-only'
export const AUTHORIZED = { authorization: `Bearer ${SIGNS_KEY}` }

/** Settings for a server of one worker in a folder, which gets a copy of the shipped domains. */
export async function signsSettings (folder: string): Promise<Record<string, string>> {
  const { modelsDir } = await shipSigns(folder)
  return {
    BANKSWITCH_MODELS_DIR: modelsDir,
    BANKSWITCH_CACHE_DIR: testCache(),
    BANKSWITCH_WORKERS: '1'
  }
}

/** A fresh folder with such a server's settings, and a key for it. */
export async function signsFolder (
  t: Pick<TestContext, 'after'>
): Promise<{ folder: string, settings: Record<string, string> }> {
  const folder = await temporaryFolder(t)
  return { folder, settings: { ...await signsSettings(folder), BANKSWITCH_ADMIN_KEY: SIGNS_KEY } }
}

/** A valid bank of the shipped model. */
export async function shippedBank (domain: string): Promise<Uint8Array> {
  return await readFile(await versionFile(join(ROOT, 'domains'), domain))
}

/** Where the only version of a domain stands. */
export async function versionFile (storeDir: string, domain: string): Promise<string> {
  const folder = join(storeDir, 'traffic-signs', domain)
  const name = (await readdir(folder)).find((entry) => entry.endsWith('.safetensors'))!
  return join(folder, name)
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

export async function registerSigns (
  address: string, domain: string, bank: Uint8Array, isActivated = true
): Promise<Answer> {
  return await answerOf(fetch(`${address}/admin/models/traffic-signs/domains/${domain}?activate=${isActivated}`, {
    method: 'PUT', headers: { ...AUTHORIZED, 'content-type': 'application/octet-stream' }, body: new Uint8Array(bank)
  }))
}

export async function activateSigns (address: string, domain: string, version: number): Promise<Answer> {
  return await answerOf(fetch(`${address}/admin/models/traffic-signs/domains/${domain}/activate`, {
    method: 'POST', headers: { ...AUTHORIZED, 'content-type': 'application/json' }, body: JSON.stringify({ version })
  }))
}

/** The same bank with another first mean, as a safetensors file. */
export function variantOf (bank: Uint8Array, mean: number): Uint8Array {
  const varied = Uint8Array.from(bank)
  const view = new DataView(varied.buffer)
  const headerEnd = 8 + Number(view.getBigUint64(0, true))
  const header = JSON.parse(Buffer.from(varied.subarray(8, headerEnd)).toString()) as Record<string, { data_offsets: number[] }>
  const name = Object.keys(header).find((key) => key.endsWith('.running_mean'))!
  view.setFloat32(headerEnd + header[name]!.data_offsets[0]!, mean, true)
  return varied
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
