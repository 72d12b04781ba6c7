/** A request to a server under measurement, whatever its answer. */
import { request, type Agent } from 'node:http'

export interface Asked {
  method: string
  url: string
  headers?: Record<string, string>
  body?: Uint8Array
  agent?: Agent
}

export function ask ({ method, url, headers = {}, body, agent }: Asked): Promise<{ status: number, body: Buffer }> {
  return new Promise((resolve, reject) => {
    request(url, { method, headers, ...(agent === undefined ? {} : { agent }) }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject)
        .on('end', () => resolve({ status: response.statusCode!, body: Buffer.concat(chunks) }))
    }).on('error', reject).end(body)
  })
}
