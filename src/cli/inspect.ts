/** `bankswitch inspect`: what a model is to this service, and what a domain would cost. */
import { inspectModel, type Inspection } from '../compiler/inspect.js'
import { MODEL_ARGUMENTS_HELP, parseModelArguments } from './model-arguments.js'
import { budgetText, textTable } from './table.js'

const INSPECT_HELP = `bankswitch inspect MODEL.onnx [options]

Shows the batch norms of a model, under which keys a bank must have them, and the plan: which are folded into the
convolution before them (kind fold), which become a convolution of their own (affine), and which stay batch norms with
parameters from the bank (generic); what each costs per domain and which memory traffic folding saves.

${MODEL_ARGUMENTS_HELP}`

/** Throws CONFIG_INVALID and what \`inspectModel\` throws. */
async function inspect (argv: string[]): Promise<number> {
  const { source, options, isJson } = await parseModelArguments(argv, INSPECT_HELP)
  const inspection = await inspectModel(source, options)
  process.stdout.write(isJson
    ? `${JSON.stringify({ model: source.path, ...inspection, foldBudget: budgetText(inspection.foldBudget) }, null, 2)}\n`
    : describe(source.path, inspection))
  return 0
}

const KINDS: Readonly<Record<Inspection['batchNorms'], string>> = {
  graph: 'stand in the graph',
  'reference-state': 'were folded away at export and are restored from the reference state',
  inserted: 'are inserted as identities behind every convolution',
  none: 'none: this model cannot be switched as it is'
}

function describe (path: string, inspection: Inspection): string {
  const { producer, opset, changedBy, batchNorms, layers, weightBytes, bytesPerDomain, advice } = inspection
  const lines = [`${path}: opset ${opset}${producer === '' ? '' : `, made by ${producer}`}`, `batch norms: ${KINDS[batchNorms]}`]
  if (changedBy.length > 0) lines.push(`prepared by the passes: ${changedBy.join(', ')}`)
  if (layers.length > 0) {
    lines.push('', textTable(
      ['layer', 'channels', 'kind', 'bytes per domain', 'activation bytes saved'],
      layers.map(({ key, channels, kind, bytes, activationBytesSaved }) => [
        key, String(channels), kind, grouped(bytes), grouped(activationBytesSaved)
      ])
    ), '', `${layers.length} batch norms; a domain costs ${grouped(bytesPerDomain)} bytes, ` +
      `${(100 * bytesPerDomain / weightBytes).toFixed(2)} % of ${grouped(weightBytes)} weight bytes ` +
      `(fold budget ${budgetText(inspection.foldBudget)}), before padding`)
  }
  for (const line of advice) lines.push('', `advice: ${line}`)
  return `${lines.join('\n')}\n`
}

function grouped (count: number): string {
  return count.toLocaleString('en')
}

export const command = { help: INSPECT_HELP, run: inspect }
