/** One kept-alive connection per client to a server under measurement. */
import { Agent } from 'node:http'
import { ask } from './ask.js'

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
  async call (
    method: string, path: string, body?: Uint8Array, headers: Record<string, string> = {}
  ): Promise<Buffer> {
    const answer = await ask({
      method,
      url: `${this.#address}${path}`,
      agent: this.#agent,
      headers: { ...headers, authorization: this.#authorization },
      ...(body === undefined ? {} : { body })
    })
    if (answer.status < 300) return answer.body
    throw new Error(`${method} ${path}: ${answer.status} ${answer.body.toString()}`)
  }

  close (): void {
    this.#agent.destroy()
  }
}
