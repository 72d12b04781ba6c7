/** What is handed to be watched, and what has been looked at. */
import type { Tensors } from '../../ort/rows.js'
import type { DomainChoice } from '../../signature/discriminant.js'
import type { Signature } from '../../signature/signature.js'
import type { ChosenVersion } from '../blends.js'
import type { ResolvedDomain } from '../domain-reference.js'
import type { ReadyModel } from '../model-states.js'
import type { Sender } from '../version-wish.js'

/** Rows that one version has answered, and what it answered. */
export interface Answered {
  readonly resolved: ChosenVersion
  /** Or what makes the one row, if it is to be looked at. */
  readonly feeds: Tensors | (() => Tensors)
  readonly rows: number
  /** Undefined where they are not kept. */
  readonly outputs: Tensors | undefined
  readonly sender: Sender
  /** By row, whether what was sent chose the domain. */
  readonly isChosen: readonly boolean[]
}

/** One row that has been looked at. */
export interface LookedAt {
  readonly model: ReadyModel
  readonly resolved: ResolvedDomain
  readonly sender: Sender
  readonly feeds: Tensors
  readonly outputs: Tensors | undefined
  readonly features: Float64Array
  /** Some of the row's values. */
  readonly values: Float32Array
  /** Among all domains of its size. */
  readonly choice: DomainChoice
  /** Of the domain that it looks most like. */
  readonly nearest: Signature
  readonly at: number
}
