/** `bankswitch serve`: the service itself. */
import { loadSettings } from '../config/load.js'
import { DiskThread } from '../base/disk-thread.js'
import { KeyRing } from '../access/key-ring.js'
import { obtainAdminKey } from '../config/admin-key.js'
import { takeOverFormerFiles } from '../config/former-files.js'
import { isDatabase } from '../config/schema.js'
import { createEngine } from '../engine.js'
import { startServer } from '../http/server.js'
import { createLogger, endLog, type Logger } from '../observability/logger.js'
import { createMetrics } from '../observability/metrics.js'
import { openTracing } from '../observability/tracing.js'
import { openStore } from '../store/open-store.js'
import { packageVersion } from './package-version.js'

const SERVE_HELP = `bankswitch serve [--host H] [--port P] [--models-dir D] [--domains-dir D] …

Serves every model of the models folder. Each setting is a flag here and an environment variable BANKSWITCH_…;
docs/settings.md lists them.
`

/** Runs until SIGTERM or SIGINT. Throws CONFIG_INVALID and what start-up throws. */
async function serve (flags: string[]): Promise<number> {
  const settings = loadSettings(process.env, flags)
  const logger = createLogger(settings.logLevel)
  const formerFiles = isDatabase(settings.store) ? [] : await takeOverFormerFiles(settings)
  for (const path of formerFiles) logger.info({ path }, 'taken over from beside the domains')
  const adminKey = await obtainAdminKey(settings)
  if (adminKey.path !== undefined) {
    logger.info({ path: adminKey.path, isNew: adminKey.isNew }, 'the admin key stands in this file')
  }
  const version = packageVersion()
  const keys = await KeyRing.open({ adminKey: adminKey.key, path: settings.keysFile, logger })
  const metrics = createMetrics(version)
  const tracing = await openTracing({ ...settings, version, logger })
  const disk = new DiskThread()
  const { close: closeStore, ...place } = await openStore(settings, logger, disk)
  const engine = await createEngine({ settings, logger, metrics, ...place })
  const server = await startServer({ engine, settings, logger, metrics, tracing, keys, version, disk })
  const { address, adminAddress } = server
  logger.info({ address, adminAddress, documentation: `${address}/docs` }, 'listening')
  void engine.prepared.then(() => {
    if (engine.isReady) logger.info('ready')
  })
  const close = async () => {
    await server.close()
    // Whoever gets the store next must not meet a change of this process, whose client may have gone.
    await disk.close()
    await closeStore()
    await tracing?.close()
  }
  const code = await untilStopped(close, logger, settings.shutdownMs)
  const { busy, stuck } = engine.workers
  if (busy + stuck > 0) {
    // The end of the process would wait for the native calls of its threads, maybe for ever.
    logger.error({ busy, stuck }, 'inference threads are still in a run: the process is killed')
    await endLog(logger)
    process.kill(process.pid, 'SIGKILL')
  }
  await endLog(logger)
  return code
}

/** Exit code 0 after a clean stop; 1 when requests were still under way at the limit or a second signal came. */
function untilStopped (close: () => Promise<void>, logger: Logger, shutdownMs: number): Promise<number> {
  return new Promise((resolve) => {
    let isStopping = false
    const stop = (signal: NodeJS.Signals) => {
      if (isStopping) return resolve(1)
      isStopping = true
      logger.info({ signal, shutdownMs }, 'stopping: answering what was let in')
      setTimeout(() => {
        logger.error('requests were still under way at the limit')
        resolve(1)
      }, shutdownMs).unref()
      close().then(() => {
        logger.info('stopped')
        resolve(0)
      }, (error: unknown) => {
        logger.error({ err: error }, 'stopping failed')
        resolve(1)
      })
    }
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
  })
}

export const command = { help: SERVE_HELP, run: serve }
