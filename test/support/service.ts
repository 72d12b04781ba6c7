/** The whole service in this process, over one shipped model and its domains, with a store of its own; no port is opened. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { KeyRing } from '#src/access/key-ring.js'
import { loadSettings } from '#src/config/load.js'
import { createEngine, type Engine } from '#src/engine.js'
import { buildApp } from '#src/http/app.js'
import { createLogger } from '#src/observability/logger.js'
import { createMetrics } from '#src/observability/metrics.js'
import { openTracing } from '#src/observability/tracing.js'
import { openStore } from '#src/store/open-store.js'
import { testCache } from './cache.js'
import { shipSigns } from './folders.js'
import type { App } from '#src/http/app-type.js'

export const ADMIN_KEY = 'a-key-for-the-tests-only'
export const ADMIN = { authorization: `Bearer ${ADMIN_KEY}` }

export interface Service {
  app: App
  engine: Engine
  keys: KeyRing
  storeDir: string
  /** Lines of the log so far, parsed. */
  log: Array<Record<string, unknown>>
  close (): Promise<void>
}

/** Starts and waits until every model is ready. `environment` adds settings. */
export async function startService (environment: Record<string, string> = {}): Promise<Service> {
  const folder = await mkdtemp(join(tmpdir(), 'bankswitch-service-'))
  const { modelsDir, domainsDir } = await shipSigns(folder)
  const storeDir = join(folder, 'store')
  const settings = loadSettings({
    BANKSWITCH_MODELS_DIR: modelsDir,
    BANKSWITCH_DOMAINS_DIR: domainsDir,
    BANKSWITCH_STORE: storeDir,
    BANKSWITCH_JOBS_DIR: join(folder, 'jobs'),
    BANKSWITCH_KEYS_FILE: join(folder, 'keys.json'),
    BANKSWITCH_AUDIT_FILE: join(folder, 'audit.jsonl'),
    BANKSWITCH_CACHE_DIR: testCache(),
    BANKSWITCH_WORKERS: '1',
    BANKSWITCH_LOG_LEVEL: 'debug',
    BANKSWITCH_REFUSAL_HOLD_MS: '0',
    ...environment
  }, [])
  const log: Array<Record<string, unknown>> = []
  const sink = new Writable({
    write (chunk: Buffer, _encoding, done) {
      for (const line of chunk.toString().trim().split('\n')) log.push(JSON.parse(line) as Record<string, unknown>)
      done()
    }
  })
  const logger = createLogger(settings.logLevel, sink)
  const metrics = createMetrics('0.0.0-test')
  const tracing = await openTracing({ ...settings, version: '0.0.0-test', logger })
  const { store, close: closeStore } = await openStore(settings, logger)
  const engine = await createEngine({ settings, logger, metrics, store })
  const keys = await KeyRing.open({ adminKey: ADMIN_KEY, path: settings.keysFile, logger })
  const app = await buildApp({ engine, settings, logger, metrics, tracing, keys, version: '0.0.0-test' })
  await engine.prepared
  const close = async () => {
    await app.close()
    await engine.close()
    await closeStore()
    await tracing?.close()
    await rm(folder, { recursive: true, force: true })
  }
  if (!engine.isReady) {
    await close()
    throw new Error(`not ready: ${JSON.stringify(log.at(-1))}`)
  }
  return {
    app,
    engine,
    keys,
    storeDir,
    log,
    close
  }
}
