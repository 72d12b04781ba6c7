/**
 * What the stem of a network sees in rows. It runs on an inference thread, in a turn of its own; but the moments of a
 * small convolution are taken here, on the thread that asks, by a kernel that is through before a hand-over would be.
 */
import { shapeKey, sliceRows, type Tensors } from '../../ort/rows.js'
import { COST_MAX, openConvolutionMoments, type ConvolutionMoments } from '../../signature/convolution-moments.js'
import { featuresOfRows } from '../../signature/features.js'
import { AUTO } from '../domain-reference.js'
import { turnOf } from '../lone-row.js'
import { autoUnsupported } from './signature-book.js'
import type { Stem } from '../../compiler/artefact.js'
import type { Job } from '../../runtime/job.js'
import type { InferencePool } from '../../runtime/pool.js'
import type { ReadyModel } from '../model-states.js'

export interface StemNeeds {
  pool: Pick<InferencePool, 'submit'>
  runRows: number
  runBytes: number
}

export class StemRuns {
  readonly #needs: StemNeeds
  /** They go with the compiled model that they are of. */
  readonly #here = new WeakMap<Stem, { moments: ConvolutionMoments | undefined }>()

  constructor (needs: StemNeeds) {
    this.#needs = needs
  }

  /** The features of each of the rows, which have been checked, at once; undefined for what is no small convolution. */
  featuresHere ({ artefact: { stem } }: ReadyModel, feeds: Tensors): Float64Array[] | undefined {
    const moments = stem === undefined ? undefined : this.#momentsOf(stem)
    if (moments === undefined) return undefined
    const { dims: [rows, ...image], data } = feeds[stem!.inputs[0]!]!
    return rows! * moments.costOf(image) > COST_MAX ? undefined : moments.features(data as Float32Array, image)
  }

  /** As `featuresHere`, of any stem. Rejects with AUTO_UNSUPPORTED, and with what the pool and ONNX Runtime throw. */
  async features (model: ReadyModel, feeds: Tensors, rows: number, signal?: AbortSignal): Promise<Float64Array[]> {
    const { stem, artefact: { proof, stem: description }, memory, entry: { manifest } } = model
    if (stem === undefined || description === undefined) throw autoUnsupported(manifest.name)
    const { inputs, output, channels } = description
    const here = this.featuresHere(model, feeds)
    if (here !== undefined) return here
    memory.requireFits(feeds, proof.isRowInvariant ? 1 : rows, this.#needs.runBytes)
    const read = Object.fromEntries(inputs.map((name) => [name, feeds[name]!]))
    const partRows = proof.isRowInvariant ? this.#needs.runRows : rows
    const jobs: Job[] = []
    for (let first = 0; first < rows; first += partRows) {
      const count = Math.min(partRows, rows - first)
      jobs.push({
        turnOf: turnOf(manifest.name, AUTO),
        model: stem,
        bankKey: stem.id,
        bank: undefined,
        rows: count,
        feeds: count === rows ? read : sliceRows(read, first, count),
        wanted: [output],
        isAside: true,
        runKey: proof.isRowInvariant ? `${stem.id}|${shapeKey(read)}` : undefined,
        keeps: memory.keepsOf(feeds)
      })
    }
    const results = await this.#needs.pool.submit(jobs, signal)
    return results.flatMap(({ outputs }) => {
      return featuresOfRows(outputs[output]!.data as Float32Array, channels.length)
    })
  }

  #momentsOf (stem: Stem): ConvolutionMoments | undefined {
    const { convolution } = stem
    if (convolution === undefined) return undefined
    let known = this.#here.get(stem)
    if (known === undefined) this.#here.set(stem, known = { moments: openConvolutionMoments(convolution) })
    return known.moments
  }
}
