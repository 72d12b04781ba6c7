/**
 * Whether the convolutions in a state_dict are the model's. Its statistics belong to them: beside other weights they
 * are taken for what they are not, and nothing but the answers would show it. Weights are told apart by a sample, which
 * costs next to nothing for a file of any size; training changes nearly every value.
 */
import { createHash } from 'node:crypto'

/** A float32 tensor, row by row, little-endian. */
export interface PlainWeights {
  name: string
  shape: readonly number[]
  bytes: Uint8Array
}

/** What of a file has the shape of a convolution of the model, and what of that the model does not have. */
export interface ComparedConvolutions {
  compared: number
  /** Names in the file. */
  foreign: string[]
}

const SAMPLES_MAX = 1024
const DIGITS = 16

/** Weights of convolutions have two axes of channels and at least one of space. */
const RANK_MIN = 3

export function mayBeConvolution (shape: readonly number[]): boolean {
  return shape.length >= RANK_MIN
}

/** `64x3x7x7:` and a digest of up to 1,024 of its values, evenly spread. */
export function markOf ({ shape, bytes }: Pick<PlainWeights, 'shape' | 'bytes'>): string {
  const count = bytes.length / Float32Array.BYTES_PER_ELEMENT
  const samples = Math.min(SAMPLES_MAX, count)
  const sample = new Uint8Array(samples * Float32Array.BYTES_PER_ELEMENT)
  for (let at = 0; at < samples; at++) {
    const begin = Float32Array.BYTES_PER_ELEMENT * Math.floor(at * count / samples)
    sample.set(bytes.subarray(begin, begin + Float32Array.BYTES_PER_ELEMENT), at * Float32Array.BYTES_PER_ELEMENT)
  }
  return `${shape.join('x')}:${createHash('sha256').update(sample).digest('hex').slice(0, DIGITS)}`
}

/** `known` are the marks of the model's convolutions. */
export function compareConvolutions (known: readonly string[], weights: readonly PlainWeights[]): ComparedConvolutions {
  const marks = new Set(known)
  const shapes = new Set(known.map((mark) => mark.slice(0, mark.indexOf(':'))))
  const comparable = weights.filter(({ shape }) => mayBeConvolution(shape) && shapes.has(shape.join('x')))
  const foreign = comparable.filter((tensor) => !marks.has(markOf(tensor))).map(({ name }) => name)
  return { compared: comparable.length, foreign }
}
