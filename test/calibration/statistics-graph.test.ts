import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { StatisticsGraph } from '#src/calibration/statistics-graph.js'
import { parseModel } from '#src/onnx/model.js'
import { openSession } from '#src/ort/session.js'
import { CHANNELS, start } from '../support/batch-norm-graph.js'
import { hasCode } from '../support/errors.js'
import { resnet18 } from '../support/networks.js'
import type { GraphBuilder } from '../support/graph-builder.js'

const DIMS = ['n', CHANNELS, 5, 5] as const

const graphOf = (g: GraphBuilder, ...adapted: string[]) => new StatisticsGraph(g.bytes(), new Set(adapted))
const conv = (g: GraphBuilder, x: string) => g.conv(x, { inputs: CHANNELS, outputs: CHANNELS, kernel: 3 })

describe('statistics graph', () => {
  it('puts layers side by side on one level and layers in a row on several', () => {
    const { g, x } = start()
    const a = g.batchNorm(conv(g, x), CHANNELS, 'a')
    const b = g.batchNorm(conv(g, a), CHANNELS, 'b')
    const side = g.batchNorm(conv(g, a), CHANNELS, 'side')
    g.output(g.batchNorm(g.add(b, side), CHANNELS, 'c'), DIMS)
    assert.deepEqual(graphOf(g, 'a', 'b', 'side', 'c').levels, [['a'], ['b', 'side'], ['c']])
    assert.deepEqual(graphOf(g, 'b', 'c').levels, [['b'], ['c']], 'a layer that is not adapted makes no level')
  })

  it('has 17 levels for the 20 batch norms of a ResNet-18', () => {
    const { bytes } = resnet18({ size: 32, width: 8 })
    const keys = [...new StatisticsGraph(bytes, new Set()).ownBank.keys()]
    const { levels } = new StatisticsGraph(bytes, new Set(keys))
    assert.equal(keys.length, 20)
    assert.equal(levels.length, 17)
  })

  it('case 4: refuses levels for a layer used at two depths, but observes it in one run', async () => {
    const { g, x } = start()
    const first = g.batchNorm(conv(g, x), CHANNELS, 'bn')
    const parameters = g.model.graph.node.at(-1)!.input.slice(1)
    g.output(g.node('BatchNormalization', [conv(g, first), ...parameters], { epsilon: { float: 1e-5 } }), DIMS)
    const graph = graphOf(g, 'bn')
    assert.throws(() => graph.levels, hasCode('COMPILE_LAYER_REUSED', { layer: 'bn' }))
    const { bytes, observed } = graph.whole('batch', graph.ownBank)
    assert.deepEqual(observed.map(({ layerKey }) => layerKey), ['bn', 'bn'])
    const session = await openSession(bytes, { optimization: 'all' })
    assert.equal(session.outputs.length, 8)
    await session.release()
  })

  it('case 5: cuts nodes that depend on no input into every segment that needs them', async () => {
    const { g, x } = start()
    const half = g.node('Mul', [g.scalar(0.25), g.scalar(2)])
    const a = g.batchNorm(g.node('Mul', [x, half]), CHANNELS, 'a')
    g.output(g.batchNorm(g.node('Mul', [g.relu(a), half]), CHANNELS, 'b'), DIMS)
    const graph = graphOf(g, 'a', 'b')
    const first = graph.segment({ to: 0, bank: graph.ownBank, givesFrontier: true })
    assert.deepEqual(first.frontier.length, 1)
    const boundary = new Map([[first.frontier[0]!, { type: 'float32' as const, rank: 4 }]])
    const second = graph.segment({ from: 0, to: 1, boundary, bank: graph.ownBank, givesFrontier: false })
    const session = await openSession(second.bytes, { optimization: 'all' })
    assert.deepEqual(session.inputs.map(({ name }) => name), first.frontier)
    const values = Float32Array.from({ length: CHANNELS * 25 }, (_, at) => at)
    const outputs = await session.run({ [first.frontier[0]!]: { type: 'float32', dims: [1, CHANNELS, 5, 5], data: values } })
    assert.deepEqual(outputs[second.observed[0]!.mean]!.dims, [1, CHANNELS])
    await session.release()
  })

  it('takes old operator sets, whose ReduceMean has its axes as an attribute', async () => {
    const { g, x } = start()
    g.output(g.batchNorm(x, CHANNELS, 'a'), DIMS)
    g.model.opsetImport[0]!.version = 11n
    const graph = graphOf(g, 'a')
    const { bytes, observed: [site] } = graph.whole('batch', graph.ownBank)
    const session = await openSession(bytes, { optimization: 'disabled' })
    const data = Float32Array.from({ length: 2 * CHANNELS * 25 }, (_, at) => at % 25)
    const outputs = await session.run({ x: { type: 'float32', dims: [2, CHANNELS, 5, 5], data } })
    assert.deepEqual([...outputs[site!.mean]!.data as Float32Array], Array(8).fill(12))
    assert.deepEqual([...outputs[site!.squares]!.data as Float32Array], Array(8).fill(52))
    assert.equal((outputs[site!.size]!.data as BigInt64Array)[0], 200n)
    await session.release()
  })

  it('case 1: a settled layer has the given bank, whatever stands in the model', async () => {
    const { g, x } = start()
    const a = g.batchNorm(x, CHANNELS, 'a')
    g.output(g.batchNorm(a, CHANNELS, 'b'), DIMS)
    const graph = graphOf(g, 'b')
    const filled = (value: number) => new Float32Array(CHANNELS).fill(value)
    const settled = { mean: filled(2), variance: filled(1 - 1e-5), gamma: filled(3), beta: filled(7) }
    const { bytes, observed: [site] } = graph.segment({ to: 0, bank: new Map([...graph.ownBank, ['a', settled]]), givesFrontier: false })
    const session = await openSession(bytes, { optimization: 'all' })
    const outputs = await session.run({ x: { type: 'float32', dims: [1, CHANNELS, 5, 5], data: new Float32Array(100).fill(5) } })
    for (const value of outputs[site!.mean]!.data as Float32Array) assert.ok(Math.abs(value - (3 * (5 - 2) + 7)) < 1e-4)
    await session.release()
  })

  it('case 2: in batch mode the layer behind sees zero mean and unit variance, times gamma, plus beta', async () => {
    const { g, x } = start()
    const a = g.batchNorm(x, CHANNELS, 'a')
    g.output(g.batchNorm(a, CHANNELS, 'b'), DIMS)
    const graph = graphOf(g, 'a', 'b')
    const { bytes, observed } = graph.whole('batch', graph.ownBank)
    const session = await openSession(bytes, { optimization: 'all' })
    const data = Float32Array.from({ length: 3 * 100 }, (_, at) => 12345.678 + Math.floor(at / 100) * 50 + (at * 7) % 11)
    const outputs = await session.run({ x: { type: 'float32', dims: [3, CHANNELS, 5, 5], data } })
    const behind = observed.find(({ layerKey }) => layerKey === 'b')!
    const [means, squares, residuals] = [behind.mean, behind.squares, behind.residual].map((name) => outputs[name]!.data as Float32Array)
    const { gamma, beta } = graph.ownBank.get('a')!
    for (let channel = 0; channel < CHANNELS; channel++) {
      const perImage = [0, 1, 2].map((image) => means![image * CHANNELS + channel]!)
      const mean = perImage.reduce((sum, value) => sum + value, 0) / 3
      const variance = [0, 1, 2].reduce((sum, image) => {
        const at = image * CHANNELS + channel
        return sum + (squares![at]! - residuals![at]! ** 2 + (perImage[image]! - mean) ** 2) / 3
      }, 0)
      assert.ok(Math.abs(mean - beta[channel]!) < 1e-4, `${mean} is beta ${beta[channel]}`)
      assert.ok(Math.abs(Math.sqrt(variance) - gamma[channel]!) < 1e-4, `${Math.sqrt(variance)} is gamma ${gamma[channel]}`)
    }
    await session.release()
  })

  it('case 3: mean and residual together are exact where a float32 average is not', async () => {
    const { g, x } = start()
    g.output(g.batchNorm(x, CHANNELS, 'a'), DIMS)
    const graph = graphOf(g, 'a')
    const { bytes, observed: [site] } = graph.whole('bank', graph.ownBank)
    const session = await openSession(bytes, { optimization: 'all' })
    const data = Float32Array.from({ length: 100 }, (_, at) => 12345.678 + 0.01 * (at % 13))
    const outputs = await session.run({ x: { type: 'float32', dims: [1, CHANNELS, 5, 5], data } })
    for (let channel = 0; channel < CHANNELS; channel++) {
      const values = [...data.subarray(channel * 25, (channel + 1) * 25)]
      const exact = values.reduce((sum, value) => sum + value, 0) / 25
      const [mean, residual] = [site!.mean, site!.residual].map((name) => (outputs[name]!.data as Float32Array)[channel]!)
      assert.ok(Math.abs(mean! + residual! - exact) < 1e-5, `${mean} + ${residual} is ${exact}`)
    }
    await session.release()
  })

  it('a segment holds nothing from before its border, nor from behind its end', () => {
    const { g, x } = start()
    let y = x
    for (const key of ['a', 'b', 'c']) y = g.relu(g.batchNorm(conv(g, y), CHANNELS, key))
    g.output(y, DIMS)
    const graph = graphOf(g, 'a', 'b', 'c')
    const boundary = new Map([[graph.segment({ to: 1, bank: graph.ownBank, givesFrontier: true }).frontier[0]!, { type: 'float32' as const, rank: 4 }]])
    const { bytes, observed } = graph.segment({ from: 1, to: 2, boundary, bank: graph.ownBank, givesFrontier: false })
    const { node, initializer } = parseModel(bytes).graph
    assert.deepEqual(observed.map(({ layerKey }) => layerKey), ['c'])
    assert.equal(node.filter(({ opType }) => opType === 'Conv').length, 1)
    assert.equal(node.filter(({ opType }) => opType === 'BatchNormalization').length, 1, 'that of b')
    assert.ok(initializer.every(({ name }) => !/^(a|c)[.]/.test(name)), initializer.map(({ name }) => name).join())
  })

  it('a segment behind a border needs to know what crosses it, and what has a type', () => {
    const { g, x } = start()
    g.output(g.batchNorm(g.relu(g.batchNorm(x, CHANNELS, 'a')), CHANNELS, 'b'), DIMS)
    const graph = graphOf(g, 'a', 'b')
    const request = { from: 0, to: 1, bank: graph.ownBank, givesFrontier: false }
    assert.throws(() => graph.segment(request), /needs to know what crosses it/)
    const [name] = graph.segment({ to: 0, bank: graph.ownBank, givesFrontier: true }).frontier
    const boundary = new Map([[name!, { type: 'string' as const, rank: 4 }]])
    assert.throws(() => graph.segment({ ...request, boundary }), /string crosses a border/)
  })

  it('has the fingerprint of the model, under any bank', () => {
    const { g, x } = start()
    g.output(g.batchNorm(conv(g, x), CHANNELS, 'a'), DIMS)
    const graph = graphOf(g, 'a')
    const before = graph.fingerprint
    const change = (name: string) => {
      const tensor = g.model.graph.initializer.find((one) => one.name.endsWith(name))!
      tensor.rawData = tensor.rawData.map((byte, at) => at % 4 === 0 ? byte ^ 1 : byte)
    }
    change('.running_mean')
    assert.equal(graphOf(g, 'a').fingerprint, before)
    change('.weight')
    assert.notEqual(graphOf(g, 'a').fingerprint, before)
  })

  it('takes a default that could be overridden for a constant', () => {
    const { g, x } = start()
    g.output(g.batchNorm(x, CHANNELS, 'a'), DIMS)
    g.listInitializersAsInputs()
    const graph = graphOf(g, 'a')
    assert.deepEqual(graph.levels, [['a']])
    const { bytes } = graph.segment({ to: 0, bank: graph.ownBank, givesFrontier: false })
    assert.deepEqual(parseModel(bytes).graph.input.map(({ name }) => name), ['x'])
  })
})
