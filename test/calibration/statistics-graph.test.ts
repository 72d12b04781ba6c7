import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { StatisticsGraph } from '#src/calibration/statistics-graph.js'
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
    const { bytes } = resnet18({ size: 32 })
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
})
