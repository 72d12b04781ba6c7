/**
 * AssemblyScript, which `npm run generate:kernel` compiles: a convolution in float32 of a padded image, and of each
 * channel of what it gives mean and population variance over positions, both in float64. The memory is the caller's
 * (../convolution-moments.ts), which lays it out and checks every size; nothing is checked here.
 *
 * Channels are taken eight at a time, positions four: what eight registers of four lanes hold.
 */

/** Where things lie in the memory, in bytes, and their sizes: int32 each, in this order. */
@unmanaged
class Layout {
  /** float32 [inputChannels, height, width], as it came. */
  image: i32
  /** float32 [inputChannels, paddedHeight, paddedWidth], zero but for the image. */
  padded: i32
  /** float32 [blocks, inputChannels, kernelHeight, kernelWidth, 8]. */
  weights: i32
  /** float32 [blocks, 8]. */
  biases: i32
  /** float32 [positions, 8], of one block, with room for three positions more. */
  made: i32
  /** float64 [blocks, 8] means, then as many variances. */
  moments: i32
  inputChannels: i32
  height: i32
  width: i32
  top: i32
  left: i32
  paddedHeight: i32
  /** So wide that four positions from the last multiple of four on lie in it. */
  paddedWidth: i32
  kernelHeight: i32
  kernelWidth: i32
  strideDown: i32
  strideRight: i32
  madeHeight: i32
  madeWidth: i32
  blocks: i32
}

const FLOATS: i32 = 4
const POSITION: i32 = 32
const BLOCK_MOMENTS: i32 = 64

export function run (at: i32): void {
  const layout = changetype<Layout>(at)
  pad(layout)
  const weightsOfBlock = layout.inputChannels * layout.kernelHeight * layout.kernelWidth * POSITION
  for (let block = 0; block < layout.blocks; block++) {
    convolve(layout, layout.weights + block * weightsOfBlock, layout.biases + block * POSITION)
    const means = layout.moments + block * BLOCK_MOMENTS
    summarise(layout, means, means + layout.blocks * BLOCK_MOMENTS)
  }
}

function pad (layout: Layout): void {
  const row = layout.width * FLOATS
  let from = layout.image
  for (let channel = 0; channel < layout.inputChannels; channel++) {
    const first = channel * layout.paddedHeight + layout.top
    let to = layout.padded + (first * layout.paddedWidth + layout.left) * FLOATS
    for (let y = 0; y < layout.height; y++) {
      memory.copy(to, from, row)
      from += row
      to += layout.paddedWidth * FLOATS
    }
  }
}

function convolve (layout: Layout, weights: i32, biases: i32): void {
  const row = layout.paddedWidth * FLOATS
  const plane = layout.paddedHeight * row
  const step = layout.strideRight * FLOATS
  const inputChannels = layout.inputChannels
  const kernelHeight = layout.kernelHeight
  const kernelWidth = layout.kernelWidth
  const low = v128.load(biases)
  const high = v128.load(biases, 16)
  let to = layout.made
  for (let y = 0; y < layout.madeHeight; y++) {
    const begin = layout.padded + y * layout.strideDown * row
    for (let x = 0; x < layout.madeWidth; x += 4) {
      let a = low, b = low, c = low, d = low
      let e = high, f = high, g = high, h = high
      let weight = weights
      let ofChannel = begin + x * step
      for (let channel = 0; channel < inputChannels; channel++) {
        let ofRow = ofChannel
        for (let down = 0; down < kernelHeight; down++) {
          let from = ofRow
          for (let right = 0; right < kernelWidth; right++) {
            const u = v128.load(weight)
            const v = v128.load(weight, 16)
            let p = v128.load32_splat(from)
            a = f32x4.add(a, f32x4.mul(p, u))
            e = f32x4.add(e, f32x4.mul(p, v))
            p = v128.load32_splat(from + step)
            b = f32x4.add(b, f32x4.mul(p, u))
            f = f32x4.add(f, f32x4.mul(p, v))
            p = v128.load32_splat(from + 2 * step)
            c = f32x4.add(c, f32x4.mul(p, u))
            g = f32x4.add(g, f32x4.mul(p, v))
            p = v128.load32_splat(from + 3 * step)
            d = f32x4.add(d, f32x4.mul(p, u))
            h = f32x4.add(h, f32x4.mul(p, v))
            weight += POSITION
            from += FLOATS
          }
          ofRow += row
        }
        ofChannel += plane
      }
      // What lies beyond the last position is written over by the next row, or lies in the room for three more.
      v128.store(to, a)
      v128.store(to, e, 16)
      v128.store(to, b, 32)
      v128.store(to, f, 48)
      v128.store(to, c, 64)
      v128.store(to, g, 80)
      v128.store(to, d, 96)
      v128.store(to, h, 112)
      to += min(4, layout.madeWidth - x) * POSITION
    }
  }
}

function summarise (layout: Layout, means: i32, variances: i32): void {
  const begin = layout.made
  const positions = layout.madeHeight * layout.madeWidth
  const end = begin + positions * POSITION
  const share = f64x2.splat(1.0 / positions)
  let a = f64x2.splat(0), b = f64x2.splat(0), c = f64x2.splat(0), d = f64x2.splat(0)
  for (let at = begin; at < end; at += POSITION) {
    a = f64x2.add(a, two(at))
    b = f64x2.add(b, two(at + 8))
    c = f64x2.add(c, two(at + 16))
    d = f64x2.add(d, two(at + 24))
  }
  a = f64x2.mul(a, share)
  b = f64x2.mul(b, share)
  c = f64x2.mul(c, share)
  d = f64x2.mul(d, share)
  storeFour(means, a, b, c, d)
  let e = f64x2.splat(0), f = f64x2.splat(0), g = f64x2.splat(0), h = f64x2.splat(0)
  for (let at = begin; at < end; at += POSITION) {
    e = f64x2.add(e, square(f64x2.sub(two(at), a)))
    f = f64x2.add(f, square(f64x2.sub(two(at + 8), b)))
    g = f64x2.add(g, square(f64x2.sub(two(at + 16), c)))
    h = f64x2.add(h, square(f64x2.sub(two(at + 24), d)))
  }
  storeFour(variances, f64x2.mul(e, share), f64x2.mul(f, share), f64x2.mul(g, share), f64x2.mul(h, share))
}

/** Two float32 as float64. */
@inline
function two (at: i32): v128 {
  return f64x2.promote_low_f32x4(v128.load64_zero(at))
}

@inline
function square (value: v128): v128 {
  return f64x2.mul(value, value)
}

@inline
function storeFour (at: i32, a: v128, b: v128, c: v128, d: v128): void {
  v128.store(at, a)
  v128.store(at, b, 16)
  v128.store(at, c, 32)
  v128.store(at, d, 48)
}
