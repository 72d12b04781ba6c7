/**
 * AssemblyScript, which `npm run generate` compiles: a convolution in float32 of a padded image, and of each
 * channel of what it gives mean and population variance over positions, both in float64. The memory is the caller's
 * (../convolution-moments.ts), which lays it out and checks every size; nothing is checked here.
 *
 * Row by row of what is made: the rows of the image that one is made of are copied between zeros, and stay in the
 * nearest cache for all channels. Channels are taken eight at a time, positions four: what eight registers of four
 * lanes hold.
 *
 * Variance is the mean of squares around the first value, less the square of the mean around it (Chan, Golub and
 * LeVeque 1983): the first value is one of them, so that rounding takes a share of some positions * 2^-52 at most.
 */

/** Where things lie in the memory, in bytes, and their sizes: int32 each, in this order. */
@unmanaged
class Layout {
  /** float32 [inputChannels, height, width], as it came. */
  image: i32
  /** float32 [inputChannels, kernelHeight, bandWidth], zero beside the image's columns. */
  band: i32
  /** float32 [blocks, inputChannels, kernelHeight, kernelWidth, 8]. */
  weights: i32
  /** float32 [blocks, 8]. */
  biases: i32
  /** float32 [madeWidth, 8], a row of one block, with room for three positions more. */
  made: i32
  /** float64 [blocks, 8] the first values, as many sums of each value less the first, and of the squares of that. */
  sums: i32
  /** float64 [blocks, 8] means, then as many variances. */
  moments: i32
  inputChannels: i32
  height: i32
  width: i32
  top: i32
  left: i32
  /** So wide that four positions from the last multiple of four on lie in it. */
  bandWidth: i32
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
/** Bytes of a block's eight float64. */
const BLOCK_SUMS: i32 = 64

export function run (at: i32): void {
  const layout = changetype<Layout>(at)
  const weightsOfBlock = layout.inputChannels * layout.kernelHeight * layout.kernelWidth * POSITION
  for (let y = 0; y < layout.madeHeight; y++) {
    fillBand(layout, y * layout.strideDown - layout.top)
    for (let block = 0; block < layout.blocks; block++) {
      convolve(layout, layout.weights + block * weightsOfBlock, layout.biases + block * POSITION)
      const first = layout.sums + block * BLOCK_SUMS
      if (y === 0) begin(layout, first)
      add(layout, first)
    }
  }
  finish(layout)
}

/** Copies the rows of the image from this one on, zeros where it has none. */
function fillBand (layout: Layout, firstRow: i32): void {
  const row = layout.width * FLOATS
  const plane = layout.height * row
  let to = layout.band + layout.left * FLOATS
  for (let channel = 0; channel < layout.inputChannels; channel++) {
    for (let y = firstRow; y < firstRow + layout.kernelHeight; y++) {
      if (y >= 0 && y < layout.height) memory.copy(to, layout.image + channel * plane + y * row, row)
      else memory.fill(to, 0, row)
      to += layout.bandWidth * FLOATS
    }
  }
}

function convolve (layout: Layout, weights: i32, biases: i32): void {
  const step = layout.strideRight * FLOATS
  const skipped = (layout.bandWidth - layout.kernelWidth) * FLOATS
  const kernelRows = layout.inputChannels * layout.kernelHeight
  const kernelWidth = layout.kernelWidth
  const low = v128.load(biases)
  const high = v128.load(biases, 16)
  let to = layout.made
  for (let x = 0; x < layout.madeWidth; x += 4) {
    let a = low, b = low, c = low, d = low
    let e = high, f = high, g = high, h = high
    let weight = weights
    let from = layout.band + x * step
    for (let row = 0; row < kernelRows; row++) {
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
      from += skipped
    }
    v128.store(to, a)
    v128.store(to, e, 16)
    v128.store(to, b, 32)
    v128.store(to, f, 48)
    v128.store(to, c, 64)
    v128.store(to, g, 80)
    v128.store(to, d, 96)
    v128.store(to, h, 112)
    to += 4 * POSITION
  }
}

/** The first values of a block, and sums of nothing. */
function begin (layout: Layout, first: i32): void {
  const all = layout.blocks * BLOCK_SUMS
  const made = layout.made
  storeFour(first, two(made), two(made + 8), two(made + 16), two(made + 24))
  const zero = f64x2.splat(0)
  storeFour(first + all, zero, zero, zero, zero)
  storeFour(first + 2 * all, zero, zero, zero, zero)
}

/** Adds the row that was made to the sums of its block. */
function add (layout: Layout, first: i32): void {
  const all = layout.blocks * BLOCK_SUMS
  const sums = first + all
  const squares = sums + all
  const i = v128.load(first), j = v128.load(first, 16), k = v128.load(first, 32), l = v128.load(first, 48)
  let a = v128.load(sums), b = v128.load(sums, 16), c = v128.load(sums, 32), d = v128.load(sums, 48)
  let e = v128.load(squares), f = v128.load(squares, 16), g = v128.load(squares, 32), h = v128.load(squares, 48)
  const end = layout.made + layout.madeWidth * POSITION
  for (let at = layout.made; at < end; at += POSITION) {
    let off = f64x2.sub(two(at), i)
    a = f64x2.add(a, off)
    e = f64x2.add(e, f64x2.mul(off, off))
    off = f64x2.sub(two(at + 8), j)
    b = f64x2.add(b, off)
    f = f64x2.add(f, f64x2.mul(off, off))
    off = f64x2.sub(two(at + 16), k)
    c = f64x2.add(c, off)
    g = f64x2.add(g, f64x2.mul(off, off))
    off = f64x2.sub(two(at + 24), l)
    d = f64x2.add(d, off)
    h = f64x2.add(h, f64x2.mul(off, off))
  }
  storeFour(sums, a, b, c, d)
  storeFour(squares, e, f, g, h)
}

function finish (layout: Layout): void {
  const all = layout.blocks * BLOCK_SUMS
  const share = f64x2.splat(1.0 / (layout.madeHeight * layout.madeWidth))
  for (let at = 0; at < all; at += 16) {
    const first = layout.sums + at
    const off = f64x2.mul(v128.load(first + all), share)
    const square = f64x2.mul(v128.load(first + 2 * all), share)
    v128.store(layout.moments + at, f64x2.add(v128.load(first), off))
    v128.store(layout.moments + all + at, f64x2.sub(square, f64x2.mul(off, off)))
  }
}

/** Two float32 as float64. */
@inline
function two (at: i32): v128 {
  return f64x2.promote_low_f32x4(v128.load64_zero(at))
}

@inline
function storeFour (at: i32, a: v128, b: v128, c: v128, d: v128): void {
  v128.store(at, a)
  v128.store(at, b, 16)
  v128.store(at, c, 32)
  v128.store(at, d, 48)
}
