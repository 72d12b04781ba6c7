/** One kept-alive connection per client to a server under measurement. */
import { Agent, request } from 'node:http'

export class Client {
  readonly #agent: Agent
  readonly #address: string
  readonly #authorization: string

  constructor ({ address, adminKey }: { address: string, adminKey: string }, connections = 1) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections })
    this.#address = address
    this.#authorization = `Bearer ${adminKey}`
  }

  /** The body of the answer. Rejects for a status of 300 and more. */
  call (method: string, path: string, body?: Uint8Array, headers: Record<string, string> = {}): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const sent = request(`${this.#address}${path}`, {
        method, agent: this.#agent, headers: { ...headers, authorization: this.#authorization }
      }, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
          const answer = Buffer.concat(chunks)
          if (response.statusCode! < 300) resolve(answer)
          else reject(new Error(`${method} ${path}: ${response.statusCode} ${answer.toString()}`))
        })
      })
      sent.on('error', reject).end(body)
    })
  }

  close (): void {
    this.#agent.destroy()
  }
}
