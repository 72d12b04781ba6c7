import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { probeModel, type Probe } from '#src/compiler/probe.js'
import { readBatchNorms } from '#src/compiler/read-batch-norms.js'
import { indexGraph } from '#src/onnx/graph.js'
import { DataType } from '#src/onnx/tensor.js'
import type { SampleShapes } from '#src/compiler/sample-inputs.js'
import { hasCode } from '../support/errors.js'
import { GraphBuilder } from '../support/graph-builder.js'

async function probe (g: GraphBuilder, samples: SampleShapes[] = []): Promise<Probe> {
  const { sites } = readBatchNorms(indexGraph(g.model.graph))
  return await probeModel(g.model, sites, samples)
}

function start (dims: Array<number | string>) {
  const g = new GraphBuilder()
  return { g, x: g.input('x', dims) }
}

test('learns the size of every normalised value, for one row of the first sample', async () => {
  const { g, x } = start(['n', 3, 'h', 'w'])
  const y = g.batchNorm(g.conv(x, { inputs: 3, outputs: 4, kernel: 3, stride: 2 }), 4)
  g.output(g.batchNorm(g.maxPool(y, 3, 2), 4), ['n', 4, 'h', 'w'])
  const { activations, samples } = await probe(g, [{ x: [1, 3, 16, 20] }, { x: [1, 3, 8, 8] }])
  assert.deepEqual(activations, [[1, 4, 8, 10], [1, 4, 4, 5]])
  assert.deepEqual(samples, [{ x: [1, 3, 16, 20] }, { x: [1, 3, 8, 8] }])
})

test('describes the inputs and outputs of the model, not what it has looked at', async () => {
  const { g, x } = start(['n', 3, 4, 4])
  g.output(g.batchNorm(g.relu(x), 3, 'bn'), ['n', 3, 4, 4])
  const { inputs, outputs } = await probe(g)
  assert.deepEqual(inputs, [{ name: 'x', type: 'float32', dims: [null, 3, 4, 4] }])
  assert.deepEqual(outputs.map(({ dims }) => dims), [[null, 3, 4, 4]])
})

test('leaves the model as it was', async () => {
  const { g, x } = start(['n', 3, 4, 4])
  g.output(g.batchNorm(g.relu(x), 3), ['n', 3, 4, 4])
  const before = g.bytes()
  await probe(g)
  assert.deepEqual(g.bytes(), before)
})

test('initializers that are listed as inputs are none', async () => {
  const { g, x } = start(['n', 3, 4, 4])
  g.output(g.batchNorm(g.relu(x), 3), ['n', 3, 4, 4]).listInitializersAsInputs()
  assert.deepEqual((await probe(g)).inputs.map(({ name }) => name), ['x'])
})

describe('where the normalised value comes from', () => {
  test('a graph input, and nothing else', async () => {
    const { g, x } = start(['n', 3, 4, 4])
    g.output(g.batchNorm(x, 3), ['n', 3, 4, 4])
    assert.deepEqual((await probe(g)).activations, [[1, 3, 4, 4]])
  })

  test('a value that is a graph output too', async () => {
    const { g, x } = start(['n', 3, 4, 4])
    const y = g.relu(x)
    g.output(g.batchNorm(y, 3), ['n', 3, 4, 4]).output(y, ['n', 3, 4, 4])
    const { activations, outputs } = await probe(g)
    assert.deepEqual(activations, [[1, 3, 4, 4]])
    assert.equal(outputs.length, 2)
  })

  for (const isInputToo of [false, true]) {
    test(`a constant${isInputToo ? ' that is listed as an input' : ''}`, async () => {
      const { g, x } = start(['n', 3, 4, 4])
      const y = g.batchNorm(g.floats('constant', [1, 3, 4, 4], () => 1), 3)
      g.output(g.add(x, y), ['n', 3, 4, 4])
      if (isInputToo) g.listInitializersAsInputs()
      assert.deepEqual((await probe(g)).activations, [[1, 3, 4, 4]])
    })
  }

  test('one value for two batch norms', async () => {
    const { g, x } = start(['n', 3, 4, 4])
    const y = g.relu(x)
    g.output(g.add(g.batchNorm(y, 3), g.batchNorm(y, 3)), ['n', 3, 4, 4])
    assert.deepEqual((await probe(g)).activations, [[1, 3, 4, 4], [1, 3, 4, 4]])
  })
})

describe('refuses', () => {
  test('sizes that nobody knows', async () => {
    const { g, x } = start(['n', 3, 'h', 'w'])
    g.output(g.batchNorm(x, 3), ['n', 3, 'h', 'w'])
    await assert.rejects(probe(g), hasCode('COMPILE_INPUT_SHAPE_UNKNOWN', { input: 'x' }))
  })

  test('a model that does not load', async () => {
    const { g, x } = start(['n', 3, 4, 4])
    g.output(g.batchNorm(x, 5), ['n', 3, 4, 4])
    await assert.rejects(probe(g), hasCode('ORT_LOAD_FAILED'))
  })

  test('a model that does not run', async () => {
    const { g, x } = start(['n', 3, 'h', 'w'])
    g.output(g.add(g.batchNorm(x, 3), g.floats('five', [5, 5], () => 1)), ['n', 3, 'h', 'w'])
    await assert.rejects(probe(g, [{ x: [1, 3, 4, 4] }]), hasCode('ORT_RUN_FAILED'))
  })

  for (const [type, name] of [[DataType.FLOAT16, 'float16'], [DataType.DOUBLE, 'float64']] as const) {
    test(`a batch norm of ${name}`, async () => {
      const { g, x } = start(['n', 3, 4, 4])
      const cast = (value: string) => g.node('Cast', [value], { to: { int: type } })
      const parameters = ['a', 'b', 'c', 'd'].map((p) => cast(g.floats(p, [3], () => 1)))
      const y = g.node('BatchNormalization', [cast(x), ...parameters])
      g.model.graph.node.at(-1)!.name = 'bn/typed'
      g.output(g.node('Cast', [y], { to: { int: DataType.FLOAT } }), ['n', 3, 4, 4])
      await assert.rejects(probe(g), hasCode('COMPILE_BATCH_NORM_TYPE', { node: 'bn/typed', received: name }))
    })
  }
})
