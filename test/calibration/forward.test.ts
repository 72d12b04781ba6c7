/** Forward modes on small graphs: what they cost, where they cut, and that it makes no difference where. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { bytesOfAll, observe, rowsOf, type ForwardRequest, type Observed } from '#src/calibration/forward.js'
import { readBatchNorms } from '#src/compiler/read-batch-norms.js'
import { indexGraph } from '#src/onnx/graph.js'
import { parseModel } from '#src/onnx/model.js'
import { DataType } from '#src/onnx/tensor.js'
import { sliceRows, type Tensors } from '#src/ort/rows.js'
import { worstDifference } from '../support/calibration.js'
import { hasCode } from '../support/errors.js'
import { GraphBuilder } from '../support/graph-builder.js'
import { seededNormal } from '../support/random.js'

const CHANNELS = 3
const SIDE = 4
const ROW_BYTES = CHANNELS * SIDE * SIDE * 4

/** Batch norms in a row, each behind a convolution; the last output skips from the first. */
function chain (layers: number): Uint8Array {
  const g = new GraphBuilder()
  let x = g.input('x', ['n', CHANNELS, SIDE, SIDE])
  const skipped: string[] = []
  for (let layer = 0; layer < layers; layer++) {
    x = g.relu(g.batchNorm(g.conv(x, { inputs: CHANNELS, outputs: CHANNELS, kernel: 3 }), CHANNELS, `bn${layer}`))
    skipped.push(x)
  }
  return g.output(g.add(x, skipped[0]!), ['n', CHANNELS, SIDE, SIDE]).bytes()
}

function pictures (images: number): Tensors {
  const normal = seededNormal(3)
  const data = Float32Array.from({ length: images * CHANNELS * SIDE * SIDE }, (_, at) => normal() + 0.1 * (at % 7))
  return { x: { type: 'float32', dims: [images, CHANNELS, SIDE, SIDE], data } }
}

function batchesOf (images: Tensors, ...sizes: number[]): Tensors[] {
  let first = 0
  return sizes.map((size) => sliceRows(images, (first += size) - size, size))
}

interface Run extends Partial<Omit<ForwardRequest, 'options'>> {
  options?: Partial<ForwardRequest['options']>
  layers?: string[]
}

async function run (model: Uint8Array, batches: Tensors[], { options, layers, ...more }: Run = {}): Promise<Observed> {
  const batchNorms = readBatchNorms(indexGraph(parseModel(model).graph))
  const keys = layers ?? batchNorms.layers.map(({ key }) => key)
  return await observe({
    subject: { model, layers: batchNorms.layers, base: batchNorms.ownBank, adapted: new Set(keys) },
    batches,
    images: batches.reduce((sum, batch) => sum + rowsOf(batch), 0),
    options: { mode: 'sequential', momentum: 0.1, fresh: false, batchesTracked: 0, ...options },
    prior: undefined,
    budgetBytes: Infinity,
    onProgress: () => {},
    ...more
  })
}

describe('sequential', () => {
  const model = chain(5)
  const images = pictures(6)
  const batches = () => batchesOf(images, 4, 2)

  it('is one forward run where everything that crosses a border fits', async () => {
    const { forwardRuns, observers } = await run(model, batches())
    assert.equal(forwardRuns, 1)
    assert.deepEqual([...observers.keys()], ['bn0', 'bn1', 'bn2', 'bn3', 'bn4'])
    for (const { moments } of observers.values()) assert.equal(moments.count, 6 * SIDE * SIDE)
  })

  it('is (L + 1) / 2 runs where nothing fits, and gives the same', async () => {
    const roomy = await run(model, batches())
    const cramped = await run(model, batches(), { budgetBytes: 0 })
    assert.equal(cramped.forwardRuns, (5 + 1) / 2)
    assert.ok(worstDifference(cramped.bank, roomy.bank) < 1e-5)
  })

  it('keeps a border whose values just fit, for all images and not for the first batch', async () => {
    // What crosses the first border is the input of the layer behind it, 6 rows; the ones behind carry the skip as well.
    const oneValue = 6 * ROW_BYTES
    assert.equal((await run(model, batches(), { budgetBytes: oneValue - 1 })).forwardRuns, 3)
    const one = await run(model, batches(), { budgetBytes: oneValue })
    assert.ok(one.forwardRuns > 1 && one.forwardRuns < 3, `${one.forwardRuns}`)
    assert.equal((await run(model, batches(), { budgetBytes: 2 * oneValue })).forwardRuns, 1)
    assert.ok(worstDifference(one.bank, (await run(model, batches())).bank) < 1e-5)
  })

  it('leaves the images as they are, whatever it throws away on its way', async () => {
    const given = batches()
    const copy = structuredClone(given)
    for (const budgetBytes of [Infinity, 6 * ROW_BYTES, 0]) await run(model, given, { budgetBytes })
    assert.deepEqual(given, copy)
  })

  it('gives the same for any batches', async () => {
    const { bank } = await run(model, batches())
    for (const sizes of [[6], [1, 1, 1, 1, 1, 1], [1, 5], [5, 1]]) {
      const other = await run(model, batchesOf(images, ...sizes))
      assert.ok(worstDifference(other.bank, bank) < 1e-5, sizes.join())
    }
  })

  it('settles a layer before the next sees it: the input of the last is that of the bank that comes out', async () => {
    const { bank, observers } = await run(model, batches())
    // Under the bank that came out, a plain observation of every layer must see what the schedule saw.
    const batchNorms = readBatchNorms(indexGraph(parseModel(model).graph))
    const subject = { model, layers: batchNorms.layers, base: bank, adapted: new Set(bank.keys()) }
    const again = await run(model, batches(), { subject, options: { mode: 'fixed' } })
    for (const [key, { estimate }] of observers) {
      const { mean } = again.observers.get(key)!.estimate
      for (const [channel, value] of estimate.mean.entries()) assert.ok(Math.abs(mean[channel]! - value) < 1e-5, key)
    }
  })

  it('of no layer at all runs nothing and gives the base', async () => {
    const { bank, forwardRuns, observers } = await run(model, batches(), { layers: [] })
    assert.equal(forwardRuns, 0)
    assert.equal(observers.size, 0)
    assert.deepEqual(bank, readBatchNorms(indexGraph(parseModel(model).graph)).ownBank)
  })

  it('cuts through values that are no floats', async () => {
    const g = new GraphBuilder()
    const x = g.input('x', ['n', CHANNELS, SIDE, SIDE])
    const a = g.batchNorm(x, CHANNELS, 'a')
    const mask = g.node('Greater', [a, g.scalar(0)])
    const counts = g.node('Cast', [g.node('ReduceSum', [g.node('Cast', [mask], { to: { int: DataType.INT64 } })], { keepdims: { int: 0 } })], {
      to: { int: DataType.FLOAT }
    })
    const b = g.batchNorm(g.relu(a), CHANNELS, 'b')
    const masked = g.node('Where', [mask, b, g.scalar(0)])
    g.output(g.add(g.batchNorm(masked, CHANNELS, 'c'), counts), ['n', CHANNELS, SIDE, SIDE])
    const roomy = await run(g.bytes(), batchesOf(images, 6))
    assert.equal(roomy.forwardRuns, 1)
    const cramped = await run(g.bytes(), batchesOf(images, 6), { budgetBytes: 0 })
    assert.ok(worstDifference(cramped.bank, roomy.bank) < 1e-5)
  })

  it('refuses a layer at two depths, which the modes of training pool', async () => {
    const g = new GraphBuilder()
    const first = g.batchNorm(g.input('x', ['n', CHANNELS, SIDE, SIDE]), CHANNELS, 'bn')
    const parameters = g.model.graph.node.at(-1)!.input.slice(1)
    const second = g.node('BatchNormalization', [g.relu(first), ...parameters], { epsilon: { float: 1e-5 } })
    g.output(second, ['n', CHANNELS, SIDE, SIDE])
    await assert.rejects(run(g.bytes(), batches()), hasCode('COMPILE_LAYER_REUSED', { layer: 'bn' }))
    const { observers } = await run(g.bytes(), batches(), { options: { mode: 'fvcore' } })
    assert.equal(observers.get('bn')!.moments.count, 2 * 6 * SIDE * SIDE)
  })
})

describe('modes of training', () => {
  const model = chain(3)
  const images = pictures(6)

  it('fixed: one run, in which no layer sees what another has become', async () => {
    const { bank, forwardRuns } = await run(model, batchesOf(images, 6), { options: { mode: 'fixed' } })
    assert.equal(forwardRuns, 1)
    for (const sizes of [[3, 3], [1, 1, 4]]) {
      const other = await run(model, batchesOf(images, ...sizes), { options: { mode: 'fixed' } })
      assert.ok(worstDifference(other.bank, bank) < 1e-6)
    }
    const first = await run(model, batchesOf(images, 6))
    const only = (key: string, all: Observed['bank']) => new Map([[key, all.get(key)!]])
    assert.ok(worstDifference(only('bn0', bank), only('bn0', first.bank)) < 1e-6, 'the first layer sees the same')
    assert.ok(worstDifference(only('bn2', bank), only('bn2', first.bank)) > 1e-3, 'the last does not')
  })

  it('fvcore: all images in one batch are as good as sequential, in several they are not', async () => {
    const { bank } = await run(model, batchesOf(images, 6))
    const whole = await run(model, batchesOf(images, 6), { options: { mode: 'fvcore' } })
    assert.ok(worstDifference(whole.bank, bank) < 1e-4)
    const halves = await run(model, batchesOf(images, 3, 3), { options: { mode: 'fvcore' } })
    assert.ok(worstDifference(halves.bank, bank) > 1e-3)
  })

  it('ema: momentum 1 is the last batch, and the base counts unless it is fresh', async () => {
    const ema = (options: Run['options']) => run(model, batchesOf(images, 3, 3), { options: { mode: 'ema', ...options } })
    const last = await run(model, batchesOf(sliceRows(images, 3, 3), 3), { options: { mode: 'torch' } })
    assert.ok(worstDifference((await ema({ momentum: 1 })).bank, last.bank) < 1e-6)
    const [based, fresh] = [await ema({ momentum: 0.1 }), await ema({ momentum: 0.1, fresh: true })]
    assert.ok(worstDifference(based.bank, fresh.bank) > 1e-2)
    const torch = await run(model, batchesOf(images, 3, 3), { options: { mode: 'torch' } })
    assert.ok(worstDifference((await ema({ momentum: null, fresh: true })).bank, torch.bank) < 1e-6)
  })

  it('adapt the named layers alone, and count as many batches as there were before', async () => {
    const { bank, observers } = await run(model, batchesOf(images, 3, 3), {
      options: { mode: 'ema', momentum: null, batchesTracked: 100 }, layers: ['bn1']
    })
    const own = readBatchNorms(indexGraph(parseModel(model).graph)).ownBank
    assert.deepEqual([...observers.keys()], ['bn1'])
    assert.equal(observers.get('bn1')!.running!.batches, 102)
    assert.deepEqual([bank.get('bn0'), bank.get('bn2')], [own.get('bn0'), own.get('bn2')])
    assert.ok(worstDifference(bank, own) < 0.2, '100 batches before weigh more than 2')
  })

  it('a prior pulls every layer to the base', async () => {
    const own = readBatchNorms(indexGraph(parseModel(model).graph)).ownBank
    const free = await run(model, batchesOf(images, 6))
    const held = await run(model, batchesOf(images, 6), { prior: { kind: 'schneider', images: 6e6 } })
    assert.ok(worstDifference(free.bank, own) > 0.05)
    assert.ok(worstDifference(held.bank, own) < 1e-4)
  })
})

describe('progress', () => {
  const model = chain(4)
  const images = pictures(6)

  for (const [mode, budgetBytes] of [['sequential', Infinity], ['sequential', 0], ['fvcore', 0], ['fixed', 0]] as const) {
    it(`${mode}, ${budgetBytes} bytes: rises to 1`, async () => {
      const told: number[] = []
      await run(model, batchesOf(images, 2, 2, 2), { options: { mode }, budgetBytes, onProgress: (share) => { told.push(share) } })
      assert.deepEqual(told, told.toSorted((a, b) => a - b))
      assert.equal(told.length, mode === 'sequential' ? 4 * 3 : 3)
      assert.ok(told[0]! > 0 && told.at(-1) === 1, told.join())
    })

    it(`${mode}, ${budgetBytes} bytes: what it throws ends the work`, async () => {
      let runs = 0
      const reason = new Error('enough')
      const running = run(model, batchesOf(images, 2, 2, 2), {
        options: { mode },
        budgetBytes,
        onProgress: () => { if (++runs === 2) throw reason }
      })
      await assert.rejects(running, reason)
      assert.equal(runs, 2)
    })
  }
})

describe('rows and bytes', () => {
  it('of tensors are those of their first axis, and of all their data', () => {
    const tensors: Tensors = {
      a: { type: 'float32', dims: [2, 3], data: new Float32Array(6) },
      b: { type: 'int64', dims: [2], data: new BigInt64Array(2) },
      c: { type: 'string', dims: [2], data: ['x', 'y'] }
    }
    assert.equal(rowsOf(tensors), 2)
    assert.equal(bytesOfAll(tensors), 24 + 16)
    assert.equal(rowsOf({}), 0)
    assert.equal(bytesOfAll({}), 0)
  })
})
