/** From an engine to a listening port and back: start, and a stop that answers what was let in. */
import { buildApp, type AppOptions } from './app.js'

export interface RunningServer {
  /** Where it listens. */
  readonly address: string
  /** Takes no new connections, answers what was let in, then closes the engine. */
  close (): Promise<void>
}

/** Throws the errno error when the address cannot be listened on. */
export async function startServer (
  options: Omit<AppOptions, 'settings'> & { settings: AppOptions['settings'] & { host: string, port: number } }
): Promise<RunningServer> {
  const app = await buildApp(options)
  const address = await app.listen({ host: options.settings.host, port: options.settings.port })
  return {
    address,
    async close () {
      await app.close()
      await options.engine.close()
    }
  }
}
