/** `bankswitch register`: a bank into the store, without a server. */
import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { environmentName } from '../config/schema.js'
import { configErrors, loadSettings } from '../config/load.js'
import { createEngine } from '../engine.js'
import { createLogger } from '../observability/logger.js'
import { createMetrics } from '../observability/metrics.js'

const REGISTER_HELP = `bankswitch register --model M --domain D FILE [--description TEXT] [--no-activate]

Registers FILE (a safetensors bank or state_dict, or a .json bank) as a new version of a domain, in the store that the
settings name. A running server sees it after a restart; to register with a running server use its admin API.
`

/** Prints what was registered as JSON. Throws CONFIG_INVALID and what registration throws. */
async function register (argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      model: { type: 'string' },
      domain: { type: 'string' },
      description: { type: 'string' },
      'no-activate': { type: 'boolean', default: false }
    }
  })
  const { model, domain, description } = values
  const [file] = positionals
  if (model === undefined || domain === undefined || file === undefined || positionals.length > 1) {
    throw configErrors.CONFIG_INVALID(`model, domain and one file are needed\n\n${REGISTER_HELP}`)
  }
  const settings = loadSettings({ ...process.env, [environmentName('workers')]: '1' }, [])
  const logger = createLogger('error', process.stderr)
  const engine = await createEngine({ settings, logger, metrics: createMetrics(), recoversJobs: false })
  try {
    await engine.prepared
    const { version, record, ignored } = await engine.admin.register(
      model, domain, file.endsWith('.json') ? 'json' : 'safetensors', await readFile(file),
      { isActivated: !values['no-activate'], ...(description === undefined ? {} : { description }) }
    )
    const isActive = record.active === version.version
    const { version: number, digest } = version
    process.stdout.write(`${JSON.stringify({ model, domain, version: number, digest, active: isActive, ignored })}\n`)
    return 0
  } finally {
    await engine.close()
  }
}

export const command = { help: REGISTER_HELP, run: register }
