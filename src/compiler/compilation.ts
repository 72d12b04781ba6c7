/** What the passes work on, and hand on to each other. */
import { parseModel, type OnnxModel } from '../onnx/model.js'
import { noLessons, type Lessons } from './lessons.js'
import { siteOptions, type Reading } from './analyse.js'
import { FLOAT_BYTES, planSites, type Plan } from './plan.js'
import type { CompileOptions } from './compile-options.js'
import type { PortSource } from './lower-batch-norms.js'
import type { Probe } from './probe.js'
import type { PromotedPorts } from './promote-ports.js'
import type { Proof } from './prove.js'
import type { ModelSource } from './source/model-source.js'
import type { StemGraph } from './stem.js'

/** What the preparing passes work on. */
export interface Preparation {
  readonly source: ModelSource
  /** Edited in place. */
  readonly model: OnnxModel
}

export interface PreparedModel {
  /** An ONNX file that holds everything. */
  bytes: Uint8Array
  /** What it was made from; undefined for a graph that never was a file. */
  source?: ModelSource
  /** Names of the passes that changed something. */
  changedBy: readonly string[]
  /** What it may deviate from the source by, relative to the largest output; 0 when nothing was changed. */
  tolerance: number
}

/** A graph that is compiled as it is. */
export function asPrepared (bytes: Uint8Array): PreparedModel {
  return { bytes, changedBy: [], tolerance: 0 }
}

/** The work of the other passes. A field is there once the pass that makes it has run: the table's order sees to it. */
export class Compilation {
  readonly prepared: PreparedModel
  readonly options: CompileOptions
  readonly folder: string
  /** The graph as it is now. */
  model: OnnxModel
  reading!: Reading
  probe!: Probe
  stem: StemGraph | undefined
  lessons!: Lessons
  plan!: Plan
  ports!: PortSource[]
  promoted!: PromotedPorts
  proof!: Proof
  /** Activations of a run of one row of the first sample. */
  runBytes!: number

  /** `folder` takes what is compiled; it must exist by then. Throws ONNX_NOT_A_MODEL or ONNX_TOO_LARGE. */
  constructor (prepared: PreparedModel, options: CompileOptions, folder: string) {
    this.prepared = prepared
    this.options = options
    this.folder = folder
    this.model = parseModel(prepared.bytes)
  }

  get budgetBytes (): number {
    return this.options.foldBudget * this.reading.weightBytes
  }

  /** The best plan for what is known by now. */
  makePlan (): Plan {
    this.lessons ??= noLessons(this.reading.batchNorms.sites)
    return planSites(siteOptions(this.reading, this.probe, this.lessons), this.budgetBytes - this.lessons.gapBytes)
  }

  /** What every domain pays, padding and gaps included. */
  get bankBytes (): number {
    return this.promoted.layout.length * FLOAT_BYTES
  }
}
