import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseModel, serializeModel, type OnnxModel } from '#src/onnx/model.js'
import { dimsOf, float32Tensor, readFloat32 } from '#src/onnx/tensor.js'
import { compileBytes, randomBank } from '../support/compile.js'
import { hasCode } from '../support/errors.js'
import { end, picture } from '../support/exact.js'
import { GraphBuilder } from '../support/graph-builder.js'
import {
  assertSameOutputs, compileFrom, compileWithState, freshen, stateOf, writeTemporary
} from '../support/reference-state.js'

/** What an exporter does: multiplies every batch norm into the node before it and names the results as it likes. */
function foldAway (model: OnnxModel): void {
  const { graph } = model
  const tensorOf = (name: string) => graph.initializer.find((tensor) => tensor.name === name)!
  for (const batchNorm of graph.node.filter(({ opType }) => opType === 'BatchNormalization')) {
    const before = graph.node.find(({ output }) => output[0] === batchNorm.input[0])!
    const [gamma, beta, mean, variance] = batchNorm.input.slice(1, 5).map((name) => readFloat32(tensorOf(name)))
    const epsilon = batchNorm.attribute.find(({ name }) => name === 'epsilon')!.f
    const scale = gamma!.map((value, channel) => value / Math.sqrt(variance![channel]! + epsilon))
    const weights = tensorOf(before.input[1]!)
    const dims = dimsOf(weights)
    const axis = before.opType === 'ConvTranspose' ? 1 : 0
    const inner = dims.slice(axis + 1).reduce((product, size) => product * size, 1)
    const values = readFloat32(weights).map((value, at) => value * scale[Math.floor(at / inner) % dims[axis]!]!)
    const own = before.input[2] === undefined ? undefined : readFloat32(tensorOf(before.input[2]))
    const shift = beta!.map((value, channel) => value + scale[channel]! * ((own?.[channel] ?? 0) - mean![channel]!))
    const [w, b] = [`folded_${graph.initializer.length}`, `folded_${graph.initializer.length + 1}`]
    graph.initializer.push(float32Tensor(w, dims, values), float32Tensor(b, [shift.length], shift))
    before.input = [before.input[0]!, w, b]
    before.output = [batchNorm.output[0]!]
    graph.node = graph.node.filter((node) => node !== batchNorm)
  }
}

function network (): GraphBuilder {
  const g = new GraphBuilder({ opset: 17 })
  const x = g.relu(g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3, bias: true, name: 'conv1' }), 8, 'bn1'))
  const y = g.batchNorm(g.conv(x, { inputs: 8, outputs: 8, kernel: 3, group: 8, name: 'conv2' }), 8, 'bn2', 1e-3)
  const weight = g.floats('up.weight', [8, 5, 2, 2], () => g.uniform() - 0.5)
  const up = g.node('ConvTranspose', [g.add(x, y), weight], { kernel_shape: { ints: [2, 2] }, strides: { ints: [2, 2] } })
  const pooled = g.node('Flatten', [g.node('GlobalAveragePool', [g.relu(g.batchNorm(up, 5, 'bn3'))])])
  g.output(g.batchNorm(g.linear(pooled, 5, 6, 'fc'), 6, 'bn4'), ['n', 6])
  return g
}

describe('a model whose batch norms were folded away', () => {
  test('is what it was before, once the state_dict is given: the same fingerprint, the same outputs under any bank', async (t) => {
    const original = network()
    const folded = parseModel(original.bytes())
    foldAway(folded)
    const restored = await compileWithState(t, folded, stateOf(original.model))
    const expected = await compileBytes(t, original.bytes(), { foldBudget: 1 })
    assert.equal(restored.origin, 'reference-state')
    assert.deepEqual(restored.layers, expected.layers)
    assert.equal(restored.fingerprint, expected.fingerprint)
    await assertSameOutputs(restored, expected, [expected.ownBank, randomBank(expected, 1), randomBank(expected, 2)])
  })

  test('a channel whose gamma is 0 can be brought back', async (t) => {
    const original = network()
    const gamma = original.model.graph.initializer.find(({ name }) => name === 'bn1.weight')!
    new Float32Array(gamma.rawData.buffer, gamma.rawData.byteOffset, 8)[3] = 0
    const folded = parseModel(original.bytes())
    foldAway(folded)
    const restored = await compileWithState(t, folded, stateOf(original.model))
    const expected = await compileBytes(t, original.bytes(), { foldBudget: 1 })
    await assertSameOutputs(restored, expected, [randomBank(expected, 3)])
  })

  test('fresh batch norms, all alike, are told apart by their names', async (t) => {
    const g = new GraphBuilder({ opset: 17 })
    let x = picture(g, 4)
    for (const at of [1, 2, 3]) {
      x = g.relu(g.batchNorm(g.conv(x, { inputs: 4, outputs: 4, kernel: 3, name: `conv${at}` }), 4, `bn${at}`))
    }
    end(g, x, 4)
    freshen(g.model)
    const folded = parseModel(g.bytes())
    foldAway(folded)
    const { layers, fingerprint } = await compileWithState(t, folded, stateOf(g.model))
    assert.deepEqual(layers.map(({ key }) => key), ['bn1', 'bn2', 'bn3'])
    assert.equal(fingerprint, (await compileBytes(t, g.bytes())).fingerprint)
  })

  test('the state of another network or of another training is refused', async (t) => {
    const folded = parseModel(network().bytes())
    foldAway(folded)
    const other = network()
    const weights = other.model.graph.initializer.find(({ name }) => name === 'conv2.weight')!
    Object.assign(weights, float32Tensor('conv2.weight', dimsOf(weights), readFloat32(weights).map((value) => value * 1.1)))
    for (const state of [stateOf(other.model), stateOf(network().model, (name) => name.replace('running', 'walking'))]) {
      await assert.rejects(compileWithState(t, folded, state), hasCode('COMPILE_REFERENCE_MISMATCH'))
    }
  })

  test('gets an identity behind every convolution instead', async (t) => {
    const folded = parseModel(network().bytes())
    foldAway(folded)
    const path = await writeTemporary(t, 'folded.onnx', serializeModel(folded))
    const artefact = await compileFrom(t, { path, origin: 'inserted' })
    assert.deepEqual(artefact.layers.map(({ channels }) => channels), [8, 8, 5])
    for (const { mean, variance, beta } of artefact.ownBank.values()) {
      assert.ok(mean.every((value) => value === 0) && variance.every((value) => value === 1) && beta.every((value) => value === 0))
    }
  })

  test('convolutions with a batch norm get no second one; where none is left, that is said', async (t) => {
    const g = new GraphBuilder()
    const x = g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 4, name: 'a' }), 4, 'bn')
    end(g, g.conv(x, { inputs: 4, outputs: 5, name: 'b' }), 5)
    const { layers } = await compileFrom(t, { path: await writeTemporary(t, 'half.onnx', g.bytes()), origin: 'inserted' })
    assert.deepEqual(layers.map(({ key }) => key), ['bn', 'b.bn'])
    const whole = new GraphBuilder()
    end(whole, whole.batchNorm(whole.conv(picture(whole, 3), { inputs: 3, outputs: 4 }), 4), 4)
    const path = await writeTemporary(t, 'whole.onnx', whole.bytes())
    await assert.rejects(compileFrom(t, { path, origin: 'inserted' }), hasCode('COMPILE_NOTHING_TO_INSERT'))
  })
})
