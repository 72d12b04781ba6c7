/** `bankswitch register`: a bank into the store, without a server. */
import { BANK_EXTENSIONS, formatOfFile } from '../bank/formats/table.js'
import { createEngine } from '../engine.js'
import { createLogger } from '../observability/logger.js'
import { createMetrics } from '../observability/metrics.js'
import { openStore } from '../store/open-store.js'
import { parseCommandLine, readNamedFile } from './command-line.js'
import { loadCommandSettings } from './settings.js'

const REGISTER_HELP = `bankswitch register --model M --domain D FILE [--description TEXT] [--no-activate]

Registers FILE (a bank or state_dict: ${BANK_EXTENSIONS}) as a new version of a domain, in the store that the
settings name. While a server or another command has that store it is refused; register with a server by its admin API.
`

/** Prints what was registered as JSON. Throws CONFIG_INVALID and what registration throws. */
async function register (argv: string[]): Promise<number> {
  const { values, positionals, wrong } = parseCommandLine(argv, REGISTER_HELP, {
    model: { type: 'string' },
    domain: { type: 'string' },
    description: { type: 'string' },
    'no-activate': { type: 'boolean', default: false }
  })
  const { model, domain, description } = values
  const [file] = positionals
  if (model === undefined || domain === undefined || file === undefined || positionals.length > 1) {
    throw wrong('model, domain and one file are needed')
  }
  const bytes = await readNamedFile(file)
  const settings = loadCommandSettings()
  const logger = createLogger('error', process.stderr)
  const { store, close } = await openStore(settings, logger)
  const engine = await createEngine({ settings, logger, metrics: createMetrics(), store, recoversJobs: false })
  try {
    await engine.prepared
    const { version, record, ignored, warnings } = await engine.admin.register(
      model, domain, formatOfFile(file, bytes), bytes,
      { isActivated: !values['no-activate'], ...(description === undefined ? {} : { description }) }
    )
    const isActive = record.active === version.version
    const { version: number, digest } = version
    const registered = { model, domain, version: number, digest, active: isActive, ignored }
    process.stdout.write(`${JSON.stringify({ ...registered, ...(warnings.length === 0 ? {} : { warnings }) })}\n`)
    return 0
  } finally {
    await engine.close()
    await close()
  }
}

export const command = { help: REGISTER_HELP, run: register }
