/**
 * The features of images whose moments are those of a convolution, by a kernel of WebAssembly: so small a graph takes
 * ONNX Runtime a tenth of a millisecond whenever something else has run before, and this a hundredth (bench/auto.ts).
 *
 * Convolved in float32 as there, in another order; mean and variance in float64. The kernel's source is
 * assembly/convolution-moments.ts, what it is compiled to generated/convolution-moments.ts.
 */
import assert from 'node:assert'
import { logVarianceOf } from './features.js'
import { WASM } from './generated/convolution-moments.js'

/** Over two dimensions, in one group and not dilated. Pairs are of rows and columns. */
export interface Convolution {
  readonly inputChannels: number
  readonly kernel: readonly [number, number]
  readonly strides: readonly [number, number]
  /** Zeros before the first row and column, and after the last ones, as ONNX orders them. */
  readonly padding: readonly [top: number, left: number, bottom: number, right: number]
  /** [channels, inputChannels, ...kernel]. */
  readonly weights: Float32Array
  /** [channels]. */
  readonly biases: Float32Array
}

/** Weights of a channel, each a multiplication for a position. */
export function tapsOf ({ inputChannels, kernel }: Pick<Convolution, 'inputChannels' | 'kernel'>): number {
  return inputChannels * kernel[0] * kernel[1]
}

/**
 * By `costOf`, of all images together: less than a millisecond, for which all else waits that the thread is to answer.
 * First convolutions of usual networks for images of 224 x 224 are within it. To hand such an image over takes the same
 * thread a third of that, and the image longer.
 */
export const COST_MAX = 20 * 2 ** 20

/** Multiplications that moving a value counts as, and summing one up that was made. */
const MOVE_COST = 8
const SUM_COST = 14

/** Channels at a time, and positions at a time: what the kernel's registers hold. */
const BLOCK = 8
const POSITIONS = 4

const PAGE_BYTES = 65_536
const LAYOUT_FIELDS = 20

/** Images of one size, in the kernel's memory. */
interface Place {
  readonly height: number
  readonly width: number
  readonly image: Float32Array
  readonly moments: Float64Array
}

let compiled: WebAssembly.Module | undefined

export class ConvolutionMoments {
  readonly #convolution: Convolution
  readonly #taps: number
  /** That the channels fill. */
  readonly #blocks: number
  readonly #memory = new WebAssembly.Memory({ initial: 1 })
  readonly #run: (layout: number) => void
  #place: Place | undefined

  /** See `openConvolutionMoments`. */
  constructor (convolution: Convolution, module: WebAssembly.Module) {
    const { weights, biases } = convolution
    this.#convolution = convolution
    this.#taps = tapsOf(convolution)
    this.#blocks = Math.ceil(biases.length / BLOCK)
    assert.equal(weights.length, biases.length * this.#taps)
    this.#run = new WebAssembly.Instance(module, { env: { memory: this.#memory } }).exports['run']!
  }

  /**
   * What an image of these dimensions, [inputChannels, height, width], costs, in multiplications: for a value that is
   * made, and for one that is moved. Infinity for what the convolution cannot take.
   */
  costOf ([channels, height = 0, width = 0]: readonly number[]): number {
    const { inputChannels, kernel } = this.#convolution
    const { made: [madeHeight, madeWidth], bandWidth } = this.#sizes(height, width)
    if (channels !== inputChannels || madeHeight < 1 || madeWidth < 1) return Infinity
    const moved = inputChannels * (height * width + madeHeight * kernel[0] * bandWidth)
    const made = this.#blocks * madeHeight * Math.ceil(madeWidth / POSITIONS) * POSITIONS * BLOCK
    return (this.#taps + SUM_COST) * made + MOVE_COST * moved
  }

  /**
   * Of each of the images, float32 [rows, inputChannels, height, width], its features as features.ts orders them. What
   * is no number stays one that is no number. The caller bounds what `costOf` tells; for COST_MAX 11 MiB are kept at
   * most, and the weights.
   */
  features (images: Float32Array, [, height, width]: readonly number[]): Float64Array[] {
    if (this.#place?.height !== height || this.#place?.width !== width) this.#place = this.#lay(height!, width!)
    const { image, moments } = this.#place!
    const channels = this.#convolution.biases.length
    return Array.from({ length: images.length / image.length }, (_, row) => {
      image.set(images.subarray(row * image.length, (row + 1) * image.length))
      this.#run(0)
      const features = new Float64Array(2 * channels)
      for (let channel = 0; channel < channels; channel++) {
        features[channel] = moments[channel]!
        features[channels + channel] = logVarianceOf(moments[moments.length / 2 + channel]!)
      }
      return features
    })
  }

  /** Of what is made, and how wide the padded rows are that a row of it is made of. */
  #sizes (height: number, width: number): { made: [number, number], bandWidth: number } {
    const { kernel, strides: [down, right], padding: [top, left, bottom, last] } = this.#convolution
    const madeHeight = Math.floor((height + top + bottom - kernel[0]) / down) + 1
    const madeWidth = Math.floor((width + left + last - kernel[1]) / right) + 1
    // As wide as the positions that are made beyond the last one read.
    const read = (Math.ceil(madeWidth / POSITIONS) * POSITIONS - 1) * right + kernel[1]
    return { made: [madeHeight, madeWidth], bandWidth: Math.max(width + left + last, read) }
  }

  /** Lays the memory out for images of this size. */
  #lay (height: number, width: number): Place {
    const { inputChannels, kernel, strides, padding: [top, left] } = this.#convolution
    const { made, bandWidth } = this.#sizes(height, width)
    const [taps, blocks] = [this.#taps, this.#blocks]
    let end = LAYOUT_FIELDS * Int32Array.BYTES_PER_ELEMENT
    const take = (floats: number) => {
      // As aligned as a register is wide.
      const at = Math.ceil(end / 16) * 16
      end = at + floats * Float32Array.BYTES_PER_ELEMENT
      return at
    }
    const imageSize = inputChannels * height * width
    const at = {
      image: take(imageSize),
      band: take(inputChannels * kernel[0] * bandWidth),
      weights: take(blocks * taps * BLOCK),
      biases: take(blocks * BLOCK),
      made: take((made[1] + POSITIONS - 1) * BLOCK),
      sums: take(3 * blocks * BLOCK * 2),
      moments: take(2 * blocks * BLOCK * 2)
    }
    const pages = Math.ceil(end / PAGE_BYTES) - this.#memory.buffer.byteLength / PAGE_BYTES
    if (pages > 0) this.#memory.grow(pages)
    const { buffer } = this.#memory
    new Uint8Array(buffer).fill(0)
    new Int32Array(buffer, 0, LAYOUT_FIELDS).set([
      at.image, at.band, at.weights, at.biases, at.made, at.sums, at.moments,
      inputChannels, height, width, top, left, bandWidth, ...kernel, ...strides, ...made, blocks
    ])
    this.#writeConstants(new Float32Array(buffer, at.weights), new Float32Array(buffer, at.biases))
    return {
      height,
      width,
      image: new Float32Array(buffer, at.image, imageSize),
      moments: new Float64Array(buffer, at.moments, 2 * blocks * BLOCK)
    }
  }

  /** Channels of a block side by side; those that fill up the last block are zero. */
  #writeConstants (to: Float32Array, biasesTo: Float32Array): void {
    const taps = this.#taps
    const { weights, biases } = this.#convolution
    biasesTo.set(biases)
    for (let channel = 0; channel < biases.length; channel++) {
      const block = Math.floor(channel / BLOCK)
      for (let tap = 0; tap < taps; tap++) {
        to[(block * taps + tap) * BLOCK + channel % BLOCK] = weights[channel * taps + tap]!
      }
    }
  }
}

/** Undefined where the processor has no vectors that WebAssembly knows. */
export function openConvolutionMoments (convolution: Convolution): ConvolutionMoments | undefined {
  const bytes = Buffer.from(WASM, 'base64')
  if (compiled === undefined && !WebAssembly.validate(bytes)) return undefined
  compiled ??= new WebAssembly.Module(bytes)
  return new ConvolutionMoments(convolution, compiled)
}
