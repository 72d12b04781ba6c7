/**
 * How much memory a run will take, before it begins: judged by the run that the compiler measured, whose activations
 * grow with the elements of the input, as those of convolutions do. Where they grow faster, this is an underestimate.
 */
import { elementCount } from '../base/dims.js'
import { servingErrors } from './errors.js'
import type { Artefact } from '../compiler/artefact.js'
import type { SampleShapes } from '../compiler/sample-inputs.js'
import type { Tensors } from '../ort/rows.js'
import type { Keeps } from '../runtime/messages.js'

/** Rows that take less than this are not large, whatever others take. */
const SMALL_BYTES = 16 * 2 ** 20

/** What takes more than so many times as much as the largest usual row is large. */
const LARGE_FACTOR = 2

/** Of tensors, or as if there were some. */
type Sized = Readonly<Record<string, { readonly dims: readonly number[] }>>

type Measured = Pick<Artefact, 'inputs' | 'samples' | 'runBytes'>

/** An input, and how many times as large as in the measured run its rows are. */
interface Growth {
  input: string
  factor: number
  elements: number
}

export class RunMemory {
  readonly #measured: Measured
  /** Elements of one row of each input in the measured run; empty when none was. */
  readonly #elements: ReadonlyArray<[input: string, elements: number]>
  readonly #usual: ReadonlySet<string>
  readonly #usualBytes: number
  readonly #takesAnySize: boolean

  /** `usual` are shapes of one row that requests will mostly have, besides those that the model was compiled with. */
  constructor (measured: Measured, usual: readonly SampleShapes[], takesAnySize: boolean) {
    this.#measured = measured
    this.#takesAnySize = takesAnySize
    const { inputs, samples: [first = {}] } = measured
    this.#elements = inputs.flatMap(({ name }) => {
      return Object.hasOwn(first, name) ? [[name, this.#rowElements(name, first[name]!)]] : []
    })
    const shapes = [...measured.samples, ...usual].map(sizedAs)
    this.#usual = new Set(shapes.map((shape) => this.#keyOf(shape)))
    this.#usualBytes = Math.max(0, ...shapes.map((shape) => this.#bytesAt(shape)))
  }

  /** Bytes of the activations of one row. */
  rowBytes (feeds: Tensors): number {
    return this.#bytesAt(feeds)
  }

  /**
   * What a thread should keep for the next run of such rows: everything; of a size that a model of a few sizes does not
   * have, memory but no plan; of rows much larger than others are, nothing.
   */
  keepsOf (feeds: Tensors): Keeps {
    if (this.rowBytes(feeds) > Math.max(SMALL_BYTES, LARGE_FACTOR * this.#usualBytes)) return 'nothing'
    const isUsual = this.#takesAnySize || this.#usual.size === 0 || this.#usual.has(this.#keyOf(feeds))
    return isUsual ? 'everything' : 'memory'
  }

  /** What a run may take: `runBytes`, or a row of a usual size, which is never refused. */
  bytesMax (runBytes: number): number {
    return Math.max(runBytes, this.#usualBytes)
  }

  /** Throws INPUT_TOO_LARGE when `rows` of these, which must share a run, take more than a run may. */
  requireFits (feeds: Tensors, rows: number, runBytes: number): void {
    const bytes = rows * this.rowBytes(feeds)
    const bytesMax = this.bytesMax(runBytes)
    if (bytes <= bytesMax) return
    const { input, elements } = this.#largest(feeds)!
    throw servingErrors.INPUT_TOO_LARGE(`the input "${input}" is so large that its run would take too much memory`, {
      input,
      expected: `at most ${Math.floor(rows * elements * bytesMax / bytes)} elements in a run`,
      received: rows * elements,
      bytes: Math.round(bytes),
      bytesMax
    })
  }

  /** Elements that one row of each input may have at most; empty when that was not measured. */
  rowElementsMax (runBytes: number): Record<string, number> {
    const { runBytes: measured } = this.#measured
    if (measured === 0) return {}
    return Object.fromEntries(this.#elements.map(([input, elements]) => {
      return [input, Math.floor(elements * this.bytesMax(runBytes) / measured)]
    }))
  }

  #bytesAt (tensors: Sized): number {
    return this.#measured.runBytes * (this.#largest(tensors)?.factor ?? 0)
  }

  #largest (tensors: Sized): Growth | undefined {
    let largest: Growth | undefined
    for (const [input, before] of this.#elements) {
      const shape = tensors[input]?.dims
      if (shape === undefined) continue
      const elements = this.#rowElements(input, shape)
      const factor = elements / Math.max(before, 1)
      if (largest === undefined || factor > largest.factor) largest = { input, factor, elements }
    }
    return largest
  }

  #rowElements (input: string, shape: readonly number[]): number {
    const { dims } = this.#measured.inputs.find(({ name }) => name === input)!
    return elementCount([dims[0] ?? 1, ...shape.slice(1)])
  }

  #keyOf (tensors: Sized): string {
    return this.#measured.inputs.map(({ name }) => tensors[name]?.dims.slice(1).join('x')).join()
  }
}

function sizedAs (shapes: SampleShapes): Sized {
  return Object.fromEntries(Object.entries(shapes).map(([name, dims]) => [name, { dims }]))
}
