/**
 * The network of one bank alone, for a domain that gets most of the traffic: its statistics are written into the
 * prepared graph, which ONNX Runtime then fuses as it would any network. It runs like the folded export that one could
 * load instead, and takes another copy of the weights, which all sessions share.
 *
 * It is proven against the switched artefact under the same bank before it is used, by prove.ts's measure; where rows
 * of the artefact may share a run, they must be bit for bit independent here too.
 */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parseModel } from '../onnx/model.js'
import { openSession, type PlainTensor } from '../ort/session.js'
import { packBank } from '../bank/pack.js'
import { GRAPH_FILE, readArtefact, WEIGHTS_FILE, type Artefact } from './artefact.js'
import { compilerErrors } from './errors.js'
import { writeSharing } from './externalise-weights.js'
import { optimise } from './optimise.js'
import { prepareSource } from './pipeline.js'
import { bankFeeds, hiddenInBoth, isRowInvariant, openExposing, relativeError, RELATIVE_ERROR_MAX } from './prove.js'
import { sampleFeeds } from './sample-inputs.js'
import { withBank } from './with-bank.js'
import type { Bank } from '../bank/bank.js'
import type { ModelSource } from './source/model-source.js'

export interface DedicateRequest {
  source: ModelSource
  /** Of the switched artefact. */
  artefactFolder: string
  bank: Bank
  /** Empty; takes graph and weights. */
  folder: string
  /** Rows of the largest run, whose memory is measured. */
  runRows: number
}

export interface DedicatedGraph {
  graphPath: string
  /** Of the weights that sessions map and share. */
  weightBytes: number
  /** What one session takes besides, with a run of `runRows` rows. */
  sessionBytes: number
  maxRelativeError: number
}

/** Different noise from that of the compilation's proof. */
const SEEDS = [300, 301, 302]

const PROOF_ROWS = 2

/** Writes graph and weights into the folder. Throws what `prepareSource` throws, and ORT_LOAD_FAILED. */
export async function writeDedicated ({ source, bank, folder }: DedicateRequest): Promise<void> {
  const { bytes } = await prepareSource(source)
  await writeSharing(await optimise(withBank(bytes, bank), folder), folder)
}

/**
 * Proves what `writeDedicated` wrote, and measures it; in a process that has done nothing else, whose memory tells what
 * a session takes. Throws COMPILE_PROOF_FAILED, ARTEFACT_CORRUPT and the runtime's errors.
 */
export async function proveDedicated (
  { artefactFolder, bank, folder, runRows }: DedicateRequest
): Promise<DedicatedGraph> {
  const artefact = await readArtefact(artefactFolder)
  const graphPath = join(folder, GRAPH_FILE)
  const sessionBytes = await measureSession(graphPath, artefact, runRows)
  const maxRelativeError = await compare(graphPath, artefact, bank)
  if (!(maxRelativeError <= RELATIVE_ERROR_MAX)) {
    throw compilerErrors.COMPILE_PROOF_FAILED(
      'the network of one bank does not compute what the switched one computes under it',
      { expected: RELATIVE_ERROR_MAX, received: maxRelativeError }
    )
  }
  const { size: weightBytes } = await stat(join(folder, WEIGHTS_FILE))
  return { graphPath, weightBytes, sessionBytes, maxRelativeError }
}

async function compare (graphPath: string, artefact: Artefact, bank: Bank): Promise<number> {
  const { folder, inputs, outputs, samples, bankInputs, layout, proof } = artefact
  const own = parseModel(await readFile(graphPath))
  const switched = parseModel(await readFile(artefact.graphPath))
  const hidden = hiddenInBoth(own, switched)
  const dedicatedSession = await openExposing(own, join(graphPath, '..'), hidden)
  const switchedSession = await openExposing(switched, folder, hidden)
  try {
    const flat = bankFeeds(bankInputs, packBank(layout, bank))
    let worst = 0
    for (const shapes of samples) {
      for (const seed of SEEDS) {
        const feeds = sampleFeeds(inputs, shapes, PROOF_ROWS, seed)
        const expected = await switchedSession.run({ ...feeds, ...flat })
        const actual = await dedicatedSession.run(feeds)
        for (const name of Object.keys(expected)) worst = Math.max(worst, relativeError(actual[name]!, expected[name]!))
      }
    }
    if (!proof.isRowInvariant || await isRowInvariant(dedicatedSession, { inputs, outputs, samples }, {})) return worst
    throw compilerErrors.COMPILE_PROOF_FAILED('rows of the network of one bank depend on each other', {
      expected: 'rows that come out bit for bit as they do alone'
    })
  } finally {
    await dedicatedSession.release()
    await switchedSession.release()
  }
}

async function measureSession (graphPath: string, { inputs, samples }: Artefact, runRows: number): Promise<number> {
  const before = await privateBytes()
  const session = await openSession(graphPath, { optimization: 'disabled' })
  try {
    for (const shapes of samples) {
      const feeds: Record<string, PlainTensor> = sampleFeeds(inputs, shapes, runRows, 0)
      await session.run(feeds)
    }
    return Math.max(0, await privateBytes() - before)
  } finally {
    await session.release()
  }
}

/** Memory of this process that is no file's, where the kernel tells; else all that is resident, mapped files too. */
async function privateBytes (): Promise<number> {
  const text = await readFile('/proc/self/smaps_rollup', 'utf8').catch(() => '')
  const kib = /^Anonymous: +(\d+) kB$/m.exec(text)?.[1]
  return kib === undefined ? process.memoryUsage.rss() : Number(kib) * 1024
}
