/** Frozen batch norms: what exporters make of them is undone by the state_dict that has their names. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseModel, type OnnxModel } from '#src/onnx/model.js'
import { makeNode } from '#src/onnx/node.js'
import { float32Tensor, readFloat32 } from '#src/onnx/tensor.js'
import { compileBytes, randomBank } from '../support/compile.js'
import { hasCode } from '../support/errors.js'
import { end, picture } from '../support/exact.js'
import { GraphBuilder } from '../support/graph-builder.js'
import { assertSameOutputs, compileWithState, freshen, stateOf } from '../support/reference-state.js'

/** What torchvision's FrozenBatchNorm2d is in a file: x * scale + shift; every second one the other way round. */
function freeze ({ graph }: OnnxModel): void {
  let at = 0
  graph.node = graph.node.flatMap((node) => {
    if (node.opType !== 'BatchNormalization') return [node]
    const [gamma, beta, mean, variance] = node.input.slice(1, 5).map((name) => {
      return readFloat32(graph.initializer.find((tensor) => tensor.name === name)!)
    })
    graph.initializer = graph.initializer.filter(({ name }) => !node.input.slice(1).includes(name))
    const epsilon = node.attribute.find(({ name }) => name === 'epsilon')!.f
    const scale = gamma!.map((value, channel) => value / Math.sqrt(variance![channel]! + epsilon))
    const shift = beta!.map((value, channel) => value - scale[channel]! * mean![channel]!)
    const [s, b, product] = [`scale_${at}`, `shift_${at}`, `product_${at}`]
    const isTurned = at++ % 2 === 1
    const dims = [...(isTurned ? [] : [1]), scale.length, 1, 1]
    graph.initializer.push(float32Tensor(s, dims, scale), float32Tensor(b, dims, shift))
    const turned = (pair: string[]) => isTurned ? pair.toReversed() : pair
    return [
      makeNode('Mul', '', turned([node.input[0]!, s]), [product]),
      makeNode('Add', '', turned([product, b]), [node.output[0]!])
    ]
  })
}

function network (): GraphBuilder {
  const g = new GraphBuilder({ opset: 17 })
  let x = picture(g, 4)
  for (const at of [1, 2, 3]) {
    x = g.relu(g.batchNorm(g.conv(x, { inputs: 4, outputs: 4, kernel: 3, name: `conv${at}` }), 4, `bn${at}`, at === 2 ? 1e-3 : 1e-5))
  }
  end(g, x, 4)
  return g
}

describe('batch norms that stand as Mul and Add', () => {
  test('are what they were, once the state_dict is given: the same fingerprint, the same outputs under any bank', async (t) => {
    const original = network()
    const frozen = parseModel(original.bytes())
    freeze(frozen)
    assert.ok(frozen.graph.node.every(({ opType }) => opType !== 'BatchNormalization'))
    const restored = await compileWithState(t, frozen, stateOf(original.model))
    const expected = await compileBytes(t, original.bytes(), { foldBudget: 1 })
    assert.deepEqual(restored.layers, expected.layers)
    assert.equal(restored.fingerprint, expected.fingerprint)
    await assertSameOutputs(restored, expected, [expected.ownBank, randomBank(expected, 1), randomBank(expected, 2)])
  })

  test('fresh ones, all alike, are told apart by the names of the convolutions before them', async (t) => {
    const original = network()
    freshen(original.model)
    const frozen = parseModel(original.bytes())
    freeze(frozen)
    // In another order than the graph's.
    const state = parseModel(original.bytes())
    state.graph.initializer.reverse()
    const { layers } = await compileWithState(t, frozen, stateOf(state))
    assert.deepEqual(layers.map(({ key }) => key), ['bn1', 'bn2', 'bn3'])
  })

  test('a layer\'s own scale and shift stays one', async (t) => {
    const g = new GraphBuilder({ opset: 17 })
    const x = g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 4, name: 'conv' }), 4, 'bn')
    const [scale, shift] = ['own.gamma', 'own.beta'].map((name) => g.floats(name, [1, 4, 1, 1], () => 1 + g.uniform()))
    end(g, g.add(g.node('Mul', [x, scale!]), shift!), 4)
    const frozen = parseModel(g.bytes())
    freeze(frozen)
    const restored = await compileWithState(t, frozen, stateOf(g.model))
    const expected = await compileBytes(t, g.bytes(), { foldBudget: 1 })
    assert.deepEqual(restored.layers.map(({ key }) => key), ['bn'])
    assert.equal(restored.fingerprint, expected.fingerprint)
  })

  test('a product that is read by something else too is left alone, and its batch norm missed by name', async (t) => {
    const original = network()
    const frozen = parseModel(original.bytes())
    freeze(frozen)
    frozen.graph.output.push({ ...frozen.graph.output[0]!, name: 'product_1' })
    const missed = hasCode('COMPILE_REFERENCE_MISMATCH', { expected: 3, received: 2, missing: ['bn2'] })
    await assert.rejects(compileWithState(t, frozen, stateOf(original.model)), missed)
  })
})
