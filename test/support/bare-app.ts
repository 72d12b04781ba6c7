/** The HTTP application around an engine that can do nothing: enough for what is decided before a handler runs. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadSettings } from '#src/config/load.js'
import { buildApp, type AppOptions } from '#src/http/app.js'
import { createLogger } from '#src/observability/logger.js'
import { createMetrics } from '#src/observability/metrics.js'
import type { KeyRing } from '#src/access/key-ring.js'
import type { Caller } from '#src/access/caller.js'
import type { Metrics } from '#src/observability/metrics.js'
import type { App } from '#src/http/app-type.js'
import type { Engine } from '#src/engine.js'

export interface BareApp {
  app: App
  auditFile: string
  metrics: Metrics
  close (): Promise<void>
}

/** `engine` is whatever part of one the test is about; `caller` is who comes with any key. */
export async function bareApp (
  environment: Record<string, string> = {},
  { engine = {}, caller, ...options }: Pick<AppOptions, 'audience' | 'bodies'> & { engine?: object, caller?: Caller } = {}
): Promise<BareApp> {
  const folder = await mkdtemp(join(tmpdir(), 'bankswitch-app-'))
  const auditFile = join(folder, 'audit.jsonl')
  const settings = loadSettings({ BANKSWITCH_AUDIT_FILE: auditFile, ...environment }, [])
  const metrics = createMetrics('0.0.0-test')
  const app = await buildApp({
    engine: Object.assign(engine, { drainMs: 0, catchUp: async () => {} }) as unknown as Engine,
    settings,
    keys: { identify: () => caller } as unknown as KeyRing,
    logger: createLogger('silent', process.stderr),
    metrics,
    version: '0.0.0-test',
    ...options
  })
  return {
    app,
    auditFile,
    metrics,
    async close () {
      await app.close()
      await rm(folder, { recursive: true, force: true })
    }
  }
}
