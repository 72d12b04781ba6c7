/**
 * What the stem of a network sees in rows. It runs on an inference thread, in a turn of its own; or here, on the thread
 * that asks, where it takes less time than handing it over does, as threads have told of an earlier run.
 */
import { openSession, type Session } from '../../ort/session.js'
import { shapeKey, sliceRows, type Tensors } from '../../ort/rows.js'
import { featuresOfRows } from '../../signature/features.js'
import { AUTO } from '../domain-reference.js'
import { turnOf } from '../lone-row.js'
import { autoUnsupported } from './signature-book.js'
import type { Job } from '../../runtime/job.js'
import type { InferencePool } from '../../runtime/pool.js'
import type { ReadyModel } from '../model-states.js'

export interface StemNeeds {
  pool: Pick<InferencePool, 'submit'>
  runRows: number
  runBytes: number
  /** Opens the stem on this thread. */
  openHere?: (path: string) => Promise<Session>
}

/** Runs here hold up everything else that this thread answers: no longer than what a hand-over costs. */
const HERE_MS_MAX = 0.15

/** A stem that has been opened here, and how many values it may be fed. */
interface StemHere {
  session: Session
  valuesMax: number
}

export class StemRuns {
  readonly #needs: StemNeeds
  /** By the id of the stem; undefined while it is being opened, and for one that could not be. */
  readonly #here = new Map<string, StemHere | undefined>()
  #isClosed = false

  constructor (needs: StemNeeds) {
    this.#needs = needs
  }

  /**
   * The features of each of the rows, which have been checked. Rejects with AUTO_UNSUPPORTED, and with what the pool
   * and ONNX Runtime throw.
   */
  async features (model: ReadyModel, feeds: Tensors, rows: number, signal?: AbortSignal): Promise<Float64Array[]> {
    const { stem, artefact: { proof, stem: description }, memory, entry: { manifest } } = model
    if (stem === undefined || description === undefined) throw autoUnsupported(manifest.name)
    const { inputs, output, channels } = description
    memory.requireFits(feeds, proof.isRowInvariant ? 1 : rows, this.#needs.runBytes)
    const featuresIn = (outputs: Tensors) => {
      return featuresOfRows(outputs[output]!.data as Float32Array, channels.length)
    }
    const read = Object.fromEntries(inputs.map((name) => [name, feeds[name]!]))
    const here = this.#here.get(stem.id)
    if (here !== undefined && valuesIn(read) <= here.valuesMax) {
      return featuresIn(await here.session.run(read, [output]))
    }
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
    const [{ inferMs, runRows }] = results as [typeof results[number]]
    this.#learn(model, valuesIn(jobs[0]!.feeds) / jobs[0]!.rows * runRows, inferMs)
    return results.flatMap(({ outputs }) => featuresIn(outputs))
  }

  /** Opens the stem here once a run of it has been short. */
  #learn ({ stem, artefact }: ReadyModel, values: number, inferMs: number): void {
    const { id } = stem!
    if (inferMs > HERE_MS_MAX || this.#here.has(id)) return
    this.#here.set(id, undefined)
    const { openHere = open } = this.#needs
    openHere(artefact.stemPath).then(async (session) => {
      if (this.#isClosed) await session.release()
      else this.#here.set(id, { session, valuesMax: Math.floor(values * HERE_MS_MAX / inferMs) })
      // The compiled model may be gone from the cache: threads hold theirs, and go on running it.
    }).catch(() => {})
  }

  async close (): Promise<void> {
    this.#isClosed = true
    const all = [...this.#here.values()]
    this.#here.clear()
    await Promise.all(all.map((here) => here?.session.release()))
  }
}

/** Without an arena: what so small a graph needs comes sooner from the heap, and goes back there. */
function open (path: string): Promise<Session> {
  return openSession(path, { optimization: 'disabled', memoryPattern: false, cpuMemoryArena: false })
}

function valuesIn (feeds: Tensors): number {
  return Object.values(feeds).reduce((sum, { data }) => sum + data.length, 0)
}
