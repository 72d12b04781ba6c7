import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { exposeValues, squashedValues } from '#src/compiler/squashed-values.js'
import { openSession } from '#src/ort/session.js'
import { GraphBuilder } from '../support/graph-builder.js'

/** A linear layer and what `end` adds to it. */
function network (end: (g: GraphBuilder, logits: string) => string | string[]): { g: GraphBuilder, logits: string } {
  const g = new GraphBuilder()
  const logits = g.linear(g.input('x', ['n', 4]), 4, 5)
  for (const value of [end(g, logits)].flat()) g.output(value, ['n', 5])
  return { g, logits }
}

describe('squashedValues', () => {
  for (const opType of ['Softmax', 'Sigmoid', 'Tanh', 'HardSigmoid', 'Clip', 'ArgMax']) {
    test(`what stands in front of a final ${opType}`, () => {
      const { g, logits } = network((g, y) => g.node(opType, [y]))
      assert.deepEqual(squashedValues(g.model.graph), [logits])
    })
  }

  test('the first of several squashing operators counts', () => {
    const { g, logits } = network((g, y) => g.node('ArgMax', [g.node('Identity', [g.node('Softmax', [y])])]))
    assert.deepEqual(squashedValues(g.model.graph), [logits])
  })

  test('nothing where nothing is squashed, or not at the end', () => {
    for (const end of [
      (_: GraphBuilder, y: string) => y,
      (g: GraphBuilder, y: string) => g.relu(y),
      (g: GraphBuilder, y: string) => g.add(g.node('Softmax', [y]), y)
    ]) assert.deepEqual(squashedValues(network(end).g.model.graph), [])
  })

  test('not what is an output already, nor what is an input', () => {
    assert.deepEqual(squashedValues(network((g, y) => [y, g.node('Softmax', [y])]).g.model.graph), [])
    assert.deepEqual(squashedValues(network((g) => g.node('Softmax', ['x'])).g.model.graph), [])
  })

  test('one value for two outputs is named once', () => {
    const { g, logits } = network((g, y) => [g.node('Softmax', [y]), g.node('ArgMax', [y])])
    assert.deepEqual(squashedValues(g.model.graph), [logits])
  })

  test('not behind an operator of another domain', () => {
    const { g } = network((g, y) => g.node('Softmax', [y]))
    g.model.graph.node.at(-1)!.domain = 'com.example'
    assert.deepEqual(squashedValues(g.model.graph), [])
  })
})

test('exposed values are outputs that the runtime fills', async () => {
  const { g, logits } = network((g, y) => g.node('Softmax', [y]))
  exposeValues(g.model.graph, [logits])
  const session = await openSession(g.bytes(), { optimization: 'disabled' })
  const results = await session.run({ x: { type: 'float32', dims: [1, 4], data: Float32Array.of(1, 2, 3, 4) } })
  assert.deepEqual(results[logits]!.dims, [1, 5])
  await session.release()
})
