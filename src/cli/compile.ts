/** `bankswitch compile`: a model into the cache, proven, without a server. */
import { existsSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { obtainArtefact } from '../compiler/obtain-artefact.js'
import { compileOptionsOf, sourceOf } from '../models/compilation.js'
import { readModel } from '../models/repository.js'
import { MODEL_ARGUMENTS_HELP, parseModelArguments, type ModelArguments } from './model-arguments.js'
import type { Artefact } from '../compiler/artefact.js'

const COMPILE_HELP = `bankswitch compile MODEL.onnx [options]

Compiles a model, proves that the result computes what the original computes under its own and under random statistics,
and keeps it in the cache, where a server finds it. For the graph of a model folder, sizes and the origin of batch norms
come from the manifest beside it. Prints where the result lies and what a domain costs.

  --cache-dir FOLDER            folder of compiled models
${MODEL_ARGUMENTS_HELP}`

/** Throws CONFIG_INVALID and what the compiler throws. */
async function compile (argv: string[]): Promise<number> {
  const given = await parseModelArguments(argv, COMPILE_HELP)
  const { source, options } = await withManifest(given)
  const begin = performance.now()
  const { artefact, key } = await obtainArtefact(source, options, {
    cacheFolder: given.cacheFolder,
    onProgress: (step, attempt) => process.stderr.write(`${step}${attempt === 1 ? '' : ` (round ${attempt})`}\n`),
    onWaiting: () => process.stderr.write('another process compiles this model; waiting for it\n'),
    onCorrupt: (error) => process.stderr.write(`the result in the cache was unusable and is rebuilt: ${error.message}\n`)
  })
  const facts = summary(artefact, key, performance.now() - begin)
  process.stdout.write(given.isJson
    ? `${JSON.stringify({ model: source.path, ...facts }, null, 2)}\n`
    : Object.entries(facts).map(([name, value]) => `${name}: ${String(value)}\n`).join(''))
  return 0
}

/** What stands in the manifest beside the graph, where nothing was said on the command line. */
async function withManifest ({ source, options }: ModelArguments): Promise<Pick<ModelArguments, 'source' | 'options'>> {
  const folder = dirname(resolve(source.path))
  if (source.origin !== 'graph' || options.samples.length > 0 || !existsSync(join(folder, 'manifest.json'))) {
    return { source, options }
  }
  const entry = await readModel(dirname(folder), basename(folder))
  return basename(entry.graphPath) === basename(source.path)
    ? { source: sourceOf(entry), options: compileOptionsOf(entry, options.foldBudget) }
    : { source, options }
}

function summary (artefact: Artefact, key: string, ms: number) {
  const kinds = (kind: string) => artefact.sites.filter((site) => site.kind === kind).length
  return {
    folder: artefact.folder,
    key,
    fingerprint: artefact.fingerprint,
    batchNorms: artefact.origin,
    bnLayers: artefact.layers.length,
    fold: kinds('fold'),
    affine: kinds('affine'),
    generic: kinds('generic'),
    weightBytes: artefact.weightBytes,
    bytesPerDomain: artefact.layout.length * Float32Array.BYTES_PER_ELEMENT,
    maxRelativeError: artefact.proof.maxRelativeError,
    isRowInvariant: artefact.proof.isRowInvariant,
    seconds: Number((ms / 1000).toFixed(2))
  }
}

export const command = { help: COMPILE_HELP, run: compile }
