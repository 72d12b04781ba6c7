import type { SampleShapes } from './sample-inputs.js'

export interface CompileOptions {
  /** Share of the model's weight bytes that a domain may cost; 0 to Infinity. */
  foldBudget: number
  /** Shapes of one row of every input, in all sizes that will be served; the first one is planned for. */
  samples: readonly SampleShapes[]
}
