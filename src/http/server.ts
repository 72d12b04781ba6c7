/** From an engine to listening ports and back: start, and a stop that answers what was let in. */
import { buildApp, type AppOptions } from './app.js'
import { AnswerBudget } from './limits/answer-budget.js'
import { BodyBudget } from './limits/body-budget.js'
import { openTls, type TlsSettings } from './tls.js'
import type { App } from './app-type.js'
import type { Audience } from './access/route-access.js'
import type { Settings } from '../config/schema.js'
import type { Server as TlsServer } from 'node:tls'

export interface RunningServer {
  /** Where it listens. */
  readonly address: string
  /** Where the admin API listens when it has a port of its own. */
  readonly adminAddress?: string
  /** Takes no new connections, answers what was let in, then closes the engine and the keys. */
  close (): Promise<void>
}

export type ServerOptions = Omit<AppOptions, 'settings' | 'audience' | 'bodies' | 'answers' | 'tls'> & {
  settings: AppOptions['settings'] & TlsSettings & Pick<Settings, 'host' | 'port' | 'adminPort' | 'adminHost'>
}

/**
 * Throws the errno error when an address cannot be listened on, CONFIG_INVALID for TLS files that cannot be used; then
 * nothing listens.
 */
export async function startServer (options: ServerOptions): Promise<RunningServer> {
  const { settings, keys, engine, logger } = options
  const tls = await openTls(settings, logger)
  const bodies = new BodyBudget(settings.bodiesBytes)
  const answers = new AnswerBudget(settings)
  const apps: App[] = []
  const listen = async (audience: Audience, host: string, port: number) => {
    const app = await buildApp({
      ...options, audience, bodies, answers, ...(tls === undefined ? {} : { tls: tls.files })
    })
    apps.push(app)
    tls?.watch((files) => (app.server as unknown as TlsServer).setSecureContext(files))
    return await app.listen({ host, port })
  }
  const closeApps = async () => {
    await Promise.all(apps.map((app) => app.close()))
    tls?.close()
  }
  try {
    const { host, port, adminHost, adminPort } = settings
    const adminAddress = adminPort === undefined ? undefined : await listen('admin', adminHost, adminPort)
    const address = await listen(adminPort === undefined ? 'all' : 'public', host, port)
    keys.watch()
    return {
      address,
      ...(adminAddress === undefined ? {} : { adminAddress }),
      async close () {
        await closeApps()
        await engine.close()
        keys.close()
      }
    }
  } catch (error) {
    await closeApps()
    throw error
  }
}
