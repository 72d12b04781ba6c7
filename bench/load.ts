/** Load on a server from a process of its own, so that making it does not delay what the parent measures. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import autocannon from 'autocannon'

export interface LoadOptions {
  url: string
  connections: number
  seconds: number
  body: Buffer
  headers: Record<string, string>
}

export interface LoadResult {
  requestsPerSecond: number
  errors: number
  /** Answers other than 2xx. */
  refused: number
}

/** Sends POST requests over `connections` connections for `seconds`. */
export async function makeLoad (options: LoadOptions): Promise<LoadResult> {
  const child = fork(fileURLToPath(import.meta.url), { serialization: 'advanced' })
  child.send(options)
  const [result] = await once(child, 'message') as [LoadResult]
  return result
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [{ url, connections, seconds, body, headers }] = await once(process, 'message') as [LoadOptions]
  const { requests, errors, non2xx } = await autocannon({
    url, method: 'POST', connections, duration: seconds, body: Buffer.from(body), headers
  })
  process.send!({ requestsPerSecond: requests.average, errors, refused: non2xx } satisfies LoadResult)
  process.disconnect()
}
