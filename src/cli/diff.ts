/** `bankswitch diff`: how far two banks lie apart. */
import { writeFile } from 'node:fs/promises'
import { bankDifference, type LayerDifference } from '../bank/difference.js'
import { differenceSvg } from '../bank/difference-svg.js'
import { parseBankSafetensors } from '../bank/formats/bank-safetensors.js'
import { BANK_EXTENSIONS, formatOfName } from '../bank/formats/table.js'
import { configErrors, loadSettings } from '../config/load.js'
import { createLogger } from '../observability/logger.js'
import { parseDomainReference, resolveDomain } from '../serving/domain-reference.js'
import { openStoreToRead } from '../store/open-store.js'
import { parseCommandLine, readNamedFile } from './command-line.js'
import { textTable } from './table.js'
import type { PartialLayer } from '../bank/bank.js'

const DIFF_HELP = `bankswitch diff A B [--svg FILE] [--json]

Shows per layer how far two banks lie apart. A and B are files (${BANK_EXTENSIONS}) or stored banks:
model/domain, model/domain:version.

  --svg FILE   draw it as well
  --json       print JSON

  mean shift   distance of means in standard deviations, root mean square over channels
  deviation    geometric mean of B's standard deviations over A's
  distance     mean Bhattacharyya distance over channels; 0 is equal
  channel      where the distance is largest
`

/** Throws CONFIG_INVALID, what reading a bank throws, and what \`bankDifference\` throws. */
async function diff (argv: string[]): Promise<number> {
  const { values: { svg, json }, positionals, wrong } = parseCommandLine(argv, DIFF_HELP, {
    svg: { type: 'string' }, json: { type: 'boolean', default: false }
  })
  const [a, b] = positionals
  if (a === undefined || b === undefined || positionals.length > 2) throw wrong('two banks are needed')
  const layers = bankDifference(await readBank(a), await readBank(b))
  if (svg !== undefined) await writeFile(svg, differenceSvg(layers, a, b))
  process.stdout.write(json ? `${JSON.stringify({ a, b, layers }, null, 2)}\n` : describe(layers))
  return 0
}

async function readBank (source: string): Promise<ReadonlyMap<string, PartialLayer>> {
  const format = formatOfName(source)
  if (format !== undefined) return (await format.parse(await readNamedFile(source), [])).layers
  const [model = '', reference, ...rest] = source.split('/')
  if (reference === undefined || rest.length > 0) {
    throw configErrors.CONFIG_INVALID(`"${source}" is neither a file (${BANK_EXTENSIONS}) nor model/domain`)
  }
  const { store } = await openStoreToRead(loadSettings(process.env, []), createLogger('error', process.stderr))
  const { record, version } = resolveDomain(store, model, parseDomainReference(reference))
  return parseBankSafetensors(await store.read(model, record.domain, version.version), []).layers
}

function describe (layers: readonly LayerDifference[]): string {
  const number = (value: number | undefined) => value === undefined ? '-' : value.toFixed(3)
  return `${textTable(
    ['layer', 'channels', 'mean shift', 'deviation', 'distance', 'channel', 'gamma shift', 'beta shift'],
    layers.map(({ layer, channels, meanShift, deviationRatio, distance, worstChannel, gammaShift, betaShift }) => [
      layer, String(channels), number(meanShift), number(deviationRatio), number(distance), String(worstChannel),
      number(gammaShift), number(betaShift)
    ])
  )}\n`
}

export const command = { help: DIFF_HELP, run: diff }
