/** Servers in processes of their own over one database. */
import { startProcess, type RunningProcess } from './process.js'
import { AUTHORIZED, getSigns, inferSigns, type Answer } from './signs.js'
import type { TestContext } from 'node:test'

const DOMAINS = '/v1/models/traffic-signs/domains'

/** Each in a folder of its own, as on machines of their own. */
export async function startReplicas (
  t: Pick<TestContext, 'after'>, folder: string, settings: Record<string, string>, urls: readonly string[]
): Promise<RunningProcess[]> {
  return await Promise.all(urls.map((url, at) => startProcess(t, {
    ...settings,
    BANKSWITCH_STORE: url,
    BANKSWITCH_AUDIT_FILE: `audit-${at}.jsonl`,
    BANKSWITCH_JOBS_DIR: `jobs-${at}`
  }, folder)))
}

/** The active version that a server knows of; undefined for no such domain. */
export async function activeAt ({ address }: RunningProcess, domain: string): Promise<number | null | undefined> {
  const { status, bytes } = await getSigns(address, DOMAINS)
  if (status !== 200) throw new Error(`the domains are answered with ${status}`)
  const { domains } = JSON.parse(bytes.toString()) as { domains: Array<{ domain: string, active: number | null }> }
  return domains.find((one) => one.domain === domain)?.active
}

/** The version that answers. */
export async function answeringAt (
  { address }: RunningProcess, domain: string, headers: Record<string, string> = {}
): Promise<number> {
  const { status, bytes } = await inferSigns(address, domain, { headers })
  const [, version] = /"model_version":"(\d+)"/.exec(bytes.toString('latin1')) ?? []
  if (status !== 200 || version === undefined) throw new Error(`${domain} is answered with ${status}: ${bytes.toString()}`)
  return Number(version)
}

/** Whether the bank of the active version is among those in the server's memory. */
export async function isResident ({ address }: RunningProcess, domain: string): Promise<boolean> {
  const { status, bytes } = await getSigns(address, '/v1/models/traffic-signs/traffic')
  if (status !== 200) throw new Error(`the traffic is answered with ${status}`)
  const { domains } = JSON.parse(bytes.toString()) as { domains: Array<{ domain: string, residentBytes?: number }> }
  return domains.find((one) => one.domain === domain)?.residentBytes !== undefined
}

/** An admin call on a domain of the model. */
export async function callSigns (
  { address }: RunningProcess, method: string, path: string, body?: object, headers: Record<string, string> = {}
): Promise<Answer & { retryAfter: string | null, json: Record<string, unknown> }> {
  const response = await fetch(`${address}/admin/models/traffic-signs/domains/${path}`, {
    method,
    headers: { ...AUTHORIZED, ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) })
  })
  const bytes = Buffer.from(await response.arrayBuffer())
  const json = bytes.length === 0 ? {} : JSON.parse(bytes.toString()) as Record<string, unknown>
  return { status: response.status, code: json.code as string | undefined, bytes, retryAfter: response.headers.get('retry-after'), json }
}
