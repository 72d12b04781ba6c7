/** The state_dict that a model was exported from, and how its batch norms are matched with what stands in the graph. */
import { readFile, stat } from 'node:fs/promises'
import { floatValues, parseSafetensors, type SafetensorsFile } from '../../bank/formats/safetensors.js'
import { compilerErrors } from '../errors.js'
import type { BatchNormToAdd } from './insert-batch-norms.js'

/** PyTorch's default, timm's and TensorFlow's, and what some detection and face networks use. */
const EPSILONS = [1e-5, 1e-3, 1e-6, 1e-4, 2e-5]

/** Folded weights were rounded once to float32, or to float16 (2^-11) before the model was widened. */
export const RELATIVE_TOLERANCE = 2e-3

/** Errors that differ by less tell nothing. */
const ROUNDING = 1e-6

/** A state_dict beyond this is none of a convolutional network that one model file could hold. */
const STATE_BYTES_MAX = 2 ** 31

export interface Convolution {
  key: string
  weights: Float32Array
  dims: number[]
  bias?: Float32Array
}

export interface Normalisation {
  key: string
  statistics: BatchNormToAdd['statistics']
}

export interface ReferenceState {
  convolutions: Convolution[]
  normalisations: Normalisation[]
}

/** What a batch norm of the state computes with an epsilon (bank/fold.ts), for each channel, in float64. */
export interface Candidate {
  normalisation: Normalisation
  epsilon: number
  scale: Float64Array
  shift: Float64Array
}

/** A batch norm of the state that computes what a place in the graph computes. */
export interface Explanation extends Candidate {
  /** Relative to the largest value of its kind. */
  error: number
}

/** Throws COMPILE_REFERENCE_MISMATCH, what `parseSafetensors` throws, and the errno error of an unreadable file. */
export async function readReferenceState (path: string): Promise<ReferenceState> {
  const { size } = await stat(path)
  if (size > STATE_BYTES_MAX) {
    throw compilerErrors.COMPILE_REFERENCE_MISMATCH('the reference state is too large', {
      expected: STATE_BYTES_MAX, received: size
    })
  }
  return fromTensors(parseSafetensors(await readFile(path)))
}

function fromTensors ({ tensors }: SafetensorsFile): ReferenceState {
  const state: ReferenceState = { convolutions: [], normalisations: [] }
  const values = (name: string): Float32Array | undefined => {
    const tensor = tensors.get(name)
    return tensor === undefined ? undefined : Float32Array.from(floatValues(name, tensor))
  }
  for (const [name, { shape }] of tensors) {
    if (name.endsWith('.running_mean')) {
      const key = name.slice(0, -'.running_mean'.length)
      const mean = values(name)!
      const variance = values(`${key}.running_var`)
      if (variance === undefined) continue
      const ones = new Float32Array(mean.length).fill(1)
      state.normalisations.push({
        key,
        statistics: {
          weight: values(`${key}.weight`) ?? ones,
          bias: values(`${key}.bias`) ?? new Float32Array(mean.length),
          running_mean: mean,
          running_var: variance
        }
      })
    } else if (name.endsWith('.weight') && shape.length >= 2) {
      const key = name.slice(0, -'.weight'.length)
      const bias = values(`${key}.bias`)
      state.convolutions.push({
        key, dims: [...shape], weights: values(name)!, ...(bias === undefined ? {} : { bias })
      })
    }
  }
  return state
}

/** The batch norms of so many channels that are not used yet, with every usual epsilon. */
export function candidates (
  { normalisations }: ReferenceState, channels: number, used: ReadonlySet<string>
): Candidate[] {
  const possible = normalisations.filter(({ key, statistics }) => {
    return !used.has(key) && statistics.running_mean.length === channels
  })
  return possible.flatMap((normalisation) => EPSILONS.map((epsilon) => {
    const { weight, bias, running_mean: mean, running_var: variance } = normalisation.statistics
    const scale = Float64Array.from(weight, (gamma, channel) => gamma / Math.sqrt(variance[channel]! + epsilon))
    const shift = scale.map((factor, channel) => bias[channel]! - factor * mean[channel]!)
    return { normalisation, epsilon, scale, shift }
  }))
}

/** The explanation with the smallest error; where errors tell nothing, the one whose name is nearest to `nameOf`. */
export function best<Found extends Explanation> (
  explanations: readonly Found[], nameOf: (explanation: Found) => string
): Found | undefined {
  const closeness = (found: Found) => nearness(nameOf(found), found.normalisation.key)
  return explanations.toSorted((a, b) => {
    return Math.abs(a.error - b.error) > ROUNDING ? a.error - b.error : closeness(b) - closeness(a)
  })[0]
}

/** Length of the common beginning, and a little for a common end (`conv2` and `bn2`). */
function nearness (a: string, b: string): number {
  let start = 0
  while (start < a.length && a[start] === b[start]) start++
  return start + (a.at(-1) === b.at(-1) ? 0.5 : 0)
}

export function largest (values: Iterable<number>): number {
  let most = 1e-12
  for (const value of values) most = Math.max(most, Math.abs(value))
  return most
}
