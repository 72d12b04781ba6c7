/** `bankswitch calibrate`: a domain from a folder of pictures, without a server or with a running one. */
import { writeFile } from 'node:fs/promises'
import type { ParseArgsConfig } from 'node:util'
import { optionsShape, parseOptions, type CalibrationOptions } from '../calibration/options.js'
import { flagName, type Settings } from '../config/schema.js'
import { createEngine } from '../engine.js'
import { createLogger } from '../observability/logger.js'
import { createMetrics } from '../observability/metrics.js'
import { openStore, openStoreToRead } from '../store/open-store.js'
import { calibrateRemotely } from './calibrate-remotely.js'
import { parseCommandLine } from './command-line.js'
import { loadCommandSettings } from './settings.js'
import { readUploads } from './read-uploads.js'
import { textTable } from './table.js'
import type { CalibrationResult, Uploads } from '../serving/calibrating/calibrations.js'

interface OptionShape { type?: string, description?: string, default?: unknown }

/** Mode `signature` is a command of its own. */
const OPTIONS = Object.entries(optionsShape as unknown as Record<string, OptionShape>)
  .filter(([name]) => name !== 'activate' && name !== 'signatureSize')

const CALIBRATE_HELP = `bankswitch calibrate --model M --domain D [options] IMAGES...

Makes a bank for a domain, new or not, from unlabelled pictures: files, folders (searched), tar, tar.gz and zip archives,
or one safetensors file with the input as a tensor. Registers it in the store that the settings name; while a server has
that store only --url and --out are possible.

  --url URL          do it on a running server, whose admin key the settings name, and serve the bank at once
  --out FILE         write the bank to a file instead of registering it
  --no-activate      register the bank without serving it
  --json             print the whole result as JSON
${OPTIONS.map(([name, { description, default: fallback }]) => {
  const shown = fallback === undefined || fallback === false || name === 'layers' ? '' : ` [${String(fallback)}]`
  return `  ${`--${flagName(name)}`.padEnd(18)} ${description}${shown}`
}).join('\n')}
`

interface Arguments {
  model: string
  domain: string
  paths: string[]
  options: CalibrationOptions
  /** The options as they were given, for a server. */
  fields: Record<string, string>
  url?: string
  out?: string
  isJson: boolean
}

/** Throws CONFIG_INVALID, what start-up throws and what a calibration throws. */
async function calibrate (argv: string[]): Promise<number> {
  const given = parseArguments(argv)
  const settings = loadCommandSettings()
  const uploads = await readUploads(given.paths)
  const bar = progressBar()
  const { model, domain, url, out, options } = given
  let result: CalibrationResult
  try {
    result = url === undefined
      ? await calibrateHere(settings, given, uploads, bar.show)
      : await calibrateRemotely({ url, settings, model, domain, fields: given.fields, uploads, onProgress: bar.show })
  } finally {
    bar.clear()
  }
  process.stdout.write(given.isJson ? `${JSON.stringify(result, null, 2)}\n` : describe(result, options, out))
  return 0
}

function parseArguments (argv: string[]): Arguments {
  const flags = Object.fromEntries(OPTIONS.map(([name, { type }]) => {
    return [flagName(name), { type: type === 'boolean' ? 'boolean' : 'string' }]
  })) as NonNullable<ParseArgsConfig['options']>
  const { positionals, wrong, ...parsed } = parseCommandLine(argv, CALIBRATE_HELP, {
    ...flags,
    model: { type: 'string' },
    domain: { type: 'string' },
    url: { type: 'string' },
    out: { type: 'string' },
    'no-activate': { type: 'boolean' },
    json: { type: 'boolean' }
  })
  const values = parsed.values as Record<string, string | boolean | undefined>
  const { model, domain, url, out } = values as Record<string, string | undefined>
  if (model === undefined || domain === undefined || positionals.length === 0) {
    throw wrong('model, domain and images are needed')
  }
  if (url !== undefined && out !== undefined) throw wrong('--url and --out exclude each other')
  const fields: Record<string, string> = values['no-activate'] === true ? { activate: 'false' } : {}
  for (const [name] of OPTIONS) {
    const value = values[flagName(name)]
    if (value !== undefined) fields[name] = String(value)
  }
  return {
    model,
    domain,
    paths: positionals,
    options: parseOptions(fields),
    fields,
    ...(url === undefined ? {} : { url }),
    ...(out === undefined ? {} : { out }),
    isJson: values.json === true
  }
}

/** In the store that the settings name, or into a file. Rejects with what start-up and the calibration throw. */
export async function calibrateHere (
  settings: Settings, { model, domain, options, out }: Pick<Arguments, 'model' | 'domain' | 'options' | 'out'>,
  uploads: Uploads, onProgress: (share: number) => void
): Promise<CalibrationResult> {
  const logger = createLogger('error', process.stderr)
  const isReading = out !== undefined
  const { store, close } = await (isReading ? openStoreToRead : openStore)(settings, logger)
  const engine = await createEngine({
    settings, logger, metrics: createMetrics(), store, isReading, recoversJobs: false
  })
  try {
    await engine.prepared
    const { file, result } = await engine.calibrations.run(model, domain, uploads, options, {
      isRegistered: out === undefined, onProgress
    })
    if (out !== undefined) await writeFile(out, file)
    return result
  } finally {
    await engine.close()
    await close()
  }
}

const BAR_WIDTH = 30

/** On a terminal only; elsewhere it shows nothing. */
export function progressBar (): { show (share: number): void, clear (): void } {
  const { stderr } = process
  const write = (text: string) => { if (stderr.isTTY) stderr.write(text) }
  return {
    show: (share) => {
      const filled = Math.round(BAR_WIDTH * share)
      write(`\r[${'#'.repeat(filled)}${' '.repeat(BAR_WIDTH - filled)}] ${Math.round(100 * share)} %`)
    },
    clear: () => write(`\r${' '.repeat(BAR_WIDTH + 8)}\r`)
  }
}

function describe (result: CalibrationResult, options: CalibrationOptions, out?: string): string {
  const { model, domain, version, active, images, report } = result
  const layers = report.layers.map(({ layer, meanError, varianceError, isSettled }) => {
    return [layer, percent(meanError), percent(varianceError), isSettled ? 'yes' : 'no']
  })
  const where = version === undefined
    ? `written to ${out}`
    : `${model}: version ${version} of domain ${domain}${active ? ', active' : ', not active'}`
  return [
    where,
    `mode ${options.mode}, ${images.used} of ${images.given} images (${images.duplicates} copies, ${images.broken} unreadable)`,
    ...images.brokenImages.map(({ name, reason }) => `  ${name}: ${reason}`),
    '',
    textTable(['layer', 'error of mean', 'error of variance', 'settled'], layers),
    '',
    report.verdict.text,
    // The verdict has said already what NOT_SETTLED warns of.
    ...report.warnings.filter(({ code }) => code !== 'NOT_SETTLED').map(({ code, message }) => `warning ${code}: ${message}`),
    ''
  ].join('\n')
}

/** Of the layer's standard deviation, or of its variance. */
function percent (share: number): string {
  return `${(100 * share).toFixed(1)} %`
}

export const command = { help: CALIBRATE_HELP, run: calibrate }
