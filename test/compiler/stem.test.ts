import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stemOf } from '#src/compiler/stem.js'
import { openSession } from '#src/ort/session.js'
import { CHANNELS_MAX, featuresOfRows, MOMENTS } from '#src/signature/features.js'
import { GraphBuilder } from '../support/graph-builder.js'
import { seededNormal } from '../support/random.js'
import type { PlainTensor } from '#src/ort/session.js'

const SIDE = 32

function picture (rows: number, channels = 3, side = SIDE): PlainTensor {
  const normal = seededNormal(rows)
  const data = Float32Array.from({ length: rows * channels * side * side }, normal)
  return { type: 'float32', dims: [rows, channels, side, side], data }
}

async function run (bytes: Uint8Array, x: PlainTensor): Promise<PlainTensor> {
  const session = await openSession(bytes, { optimization: 'disabled' })
  try {
    return Object.values(await session.run({ x }))[0]!
  } finally {
    await session.release()
  }
}

/** Means and variances per row and channel of every `step`-th position in both directions. */
function momentsOf ({ dims, data }: PlainTensor, step: number): { mean: number[], variance: number[] } {
  const [rows, channels, height, width] = dims as [number, number, number, number]
  const mean: number[] = []
  const variance: number[] = []
  for (let plane = 0; plane < rows * channels; plane++) {
    const values: number[] = []
    for (let y = 0; y < height; y += step) {
      for (let x = 0; x < width; x += step) values.push((data as Float32Array)[(plane * height + y) * width + x]!)
    }
    const average = values.reduce((sum, value) => sum + value, 0) / values.length
    mean.push(average)
    variance.push(values.reduce((sum, value) => sum + (value - average) ** 2, 0) / values.length)
  }
  return { mean, variance }
}

function assertMoments (actual: PlainTensor, rows: number, expected: { mean: number[], variance: number[] }): void {
  const channels = actual.dims[1]! / MOMENTS.length
  const all = featuresOfRows(actual.data as Float32Array, channels)
  assert.equal(all.length, rows)
  for (const [row, features] of all.entries()) {
    for (let channel = 0; channel < channels; channel++) {
      const at = row * channels + channel
      assert.ok(Math.abs(features[channel]! - expected.mean[at]!) < 1e-5)
      assert.ok(Math.abs(Math.exp(features[channels + channel]!) / expected.variance[at]! - 1) < 1e-4)
    }
  }
}

/** The network, or what its first convolution makes alone. */
function network (isWhole: boolean, kernel = 3, stride = 1, seed = 1): Uint8Array {
  const g = new GraphBuilder({ seed })
  const made = g.conv(g.input('x', ['n', 3, SIDE, SIDE]), { inputs: 3, outputs: 4, kernel, stride })
  if (!isWhole) return g.output(made, ['n', 4, 'h', 'w']).bytes()
  return g.output(g.batchNorm(g.conv(g.batchNorm(made, 4), { inputs: 4, outputs: 4, kernel: 3 }), 4), ['n', 4, 'h', 'w']).bytes()
}

test('cases 1 and 3: the first batch norm\'s input, at every second position of a convolution whose windows still overlap', async () => {
  const { bytes, channels, inputs } = stemOf(network(true), [[1, 4, SIDE, SIDE], [1, 4, SIDE, SIDE]])!
  assert.deepEqual([channels.length, new Set(channels.map(({ layerKey }) => layerKey)).size, inputs], [4, 1, ['x']])
  const x = picture(3)
  assertMoments(await run(bytes, x), 3, momentsOf(await run(network(false), x), 2))
})

test('case 3: as sparse as windows allow, which need not be a power of two', async () => {
  const side = 96
  const g = new GraphBuilder({ seed: 3 })
  const made = g.conv(g.input('x', ['n', 3, side, side]), { inputs: 3, outputs: 4, kernel: 7, stride: 2 })
  const whole = g.output(made, ['n', 4, 'h', 'w']).bytes()
  const normed = new GraphBuilder({ seed: 3 })
  const behind = normed.conv(normed.input('x', ['n', 3, side, side]), { inputs: 3, outputs: 4, kernel: 7, stride: 2 })
  const { bytes } = stemOf(normed.output(normed.batchNorm(behind, 4), ['n', 4, 'h', 'w']).bytes(), [[1, 4, side / 2, side / 2]])!
  const x = picture(2, 3, side)
  // Windows of seven in steps of two: three steps let them overlap, four would not.
  assertMoments(await run(bytes, x), 2, momentsOf(await run(whole, x), 3))
})

test('case 3: whole where windows would leave gaps, or too few positions would be left', async () => {
  const x = picture(2)
  const apart = stemOf(network(true, 1), [[1, 4, SIDE, SIDE], [1, 4, SIDE, SIDE]])!
  assertMoments(await run(apart.bytes, x), 2, momentsOf(await run(network(false, 1), x), 1))
  const few = stemOf(network(true), [[1, 4, 16, 16], [1, 4, 16, 16]])!
  assertMoments(await run(few.bytes, x), 2, momentsOf(await run(network(false), x), 1))
})

test('a batch norm of the picture itself needs no convolution; those behind it are none of the first', async () => {
  const g = new GraphBuilder()
  const x = g.input('x', ['n', 3, SIDE, SIDE])
  const bytes = g.output(g.batchNorm(g.conv(g.batchNorm(x, 3), { inputs: 3, outputs: 4, kernel: 3 }), 4), ['n', 4, 'h', 'w']).bytes()
  const stem = stemOf(bytes, [[1, 3, SIDE, SIDE], [1, 4, SIDE, SIDE]])!
  assert.equal(stem.channels.length, 3)
  const pixels = picture(2)
  assertMoments(await run(stem.bytes, pixels), 2, momentsOf(pixels, 1))
})

test('case 2: of more channels than fit, evenly spaced ones', async () => {
  const g = new GraphBuilder()
  const wide = 2 * CHANNELS_MAX
  const x = g.input('x', ['n', wide, 4, 4])
  const stem = stemOf(g.output(g.batchNorm(x, wide), ['n', wide, 4, 4]).bytes(), [[1, wide, 4, 4]])!
  assert.deepEqual(stem.channels.map(({ channel }) => channel), Array.from({ length: CHANNELS_MAX }, (_, at) => 2 * at))
  const pixels = picture(1, wide, 4)
  const { mean } = momentsOf(pixels, 1)
  const { data, dims } = await run(stem.bytes, pixels)
  assert.deepEqual(dims, [1, MOMENTS.length * CHANNELS_MAX])
  assert.ok(Math.abs((data as Float32Array)[3]! - mean[6]!) < 1e-5)
})

test('case 2: of a convolution\'s channels as many as are worth their multiplications, and no fewer than some', () => {
  // Of few weights all; 48 of ResNet's 64; of sixteen by sixteen the fewest there are.
  for (const [kernel, expected] of [[3, 64], [7, 48], [16, 32]] as const) {
    const g = new GraphBuilder()
    const made = g.conv(g.input('x', ['n', 3, SIDE, SIDE]), { inputs: 3, outputs: 64, kernel })
    const stem = stemOf(g.output(g.batchNorm(made, 64), ['n', 64, 'h', 'w']).bytes(), [[1, 64, SIDE, SIDE]])!
    const places = Array.from({ length: expected }, (_, at) => Math.floor(at * 64 / expected))
    assert.deepEqual(stem.channels.map(({ channel }) => channel), places)
    assert.equal(stem.convolution!.biases.length, expected)
  }
})

test('several first batch norms: the channels of one after those of the other', async () => {
  const g = new GraphBuilder()
  const x = g.input('x', ['n', 3, SIDE, SIDE])
  const both = g.node('Add', [g.batchNorm(x, 3), g.batchNorm(g.relu(x), 3)])
  const stem = stemOf(g.output(both, ['n', 3, SIDE, SIDE]).bytes(), [[1, 3, SIDE, SIDE], [1, 3, SIDE, SIDE]])!
  assert.deepEqual(stem.channels.map(({ channel }) => channel), [0, 1, 2, 0, 1, 2])
  const pixels = picture(1)
  const [features] = featuresOfRows((await run(stem.bytes, pixels)).data as Float32Array, 6)
  const [plain, rectified] = [pixels, { ...pixels, data: (pixels.data as Float32Array).map((value) => Math.max(value, 0)) }]
    .map((values) => momentsOf(values, 1))
  for (const [at, mean] of [...plain!.mean, ...rectified!.mean].entries()) assert.ok(Math.abs(features![at]! - mean) < 1e-5)
})

test('the mean of a picture far from zero and the variance around it are exact where float32 sums are not', async () => {
  const g = new GraphBuilder()
  const x = g.input('x', ['n', 1, SIDE, SIDE])
  const stem = stemOf(g.output(g.batchNorm(x, 1), ['n', 1, SIDE, SIDE]).bytes(), [[1, 1, SIDE, SIDE]])!
  const pixels = picture(1, 1)
  const far = { ...pixels, data: (pixels.data as Float32Array).map((value) => 4000.1 + value / 100) }
  assertMoments(await run(stem.bytes, far), 1, momentsOf(far, 1))
})

test('knows nothing of a bank: the same digest whatever the statistics, another for other weights', () => {
  const dims = [[1, 4, SIDE, SIDE], [1, 4, SIDE, SIDE]]
  const { digest } = stemOf(network(true), dims)!
  assert.equal(stemOf(network(true), dims)!.digest, digest)
  assert.notEqual(stemOf(network(true, 3, 1, 2), dims)!.digest, digest)
})

test('case 4: none for a batch norm of what has no channels', () => {
  const g = new GraphBuilder()
  const x = g.input('x', [4])
  assert.equal(stemOf(g.output(g.batchNorm(x, 4), [4]).bytes(), [[4]]), undefined)
})
