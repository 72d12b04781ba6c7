import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { readBatchNorms } from '#src/compiler/read-batch-norms.js'
import { indexGraph } from '#src/onnx/graph.js'
import { makeAttribute } from '#src/onnx/node.js'
import { FunctionProtoSchema } from '#src/onnx/generated/onnx_pb.js'
import { DataType } from '#src/onnx/tensor.js'
import {
  batchNormOf, CHANNELS, finish, keysOf, lastNode, parametersOf, read, siteKeys, start, vector
} from '../support/batch-norm-graph.js'
import { hasCode } from '../support/errors.js'
import { GraphBuilder } from '../support/graph-builder.js'

describe('case 5: training mode is refused', () => {
  test('training_mode=1', () => {
    const { g, x } = start()
    const y = g.batchNorm(x, CHANNELS)
    lastNode(g).name = 'bn/train'
    lastNode(g).attribute.push(makeAttribute('training_mode', { int: 1 }))
    assert.throws(() => finish(g, y), hasCode('COMPILE_BATCH_NORM_TRAINING', { node: 'bn/train' }))
  })

  test('further outputs', () => {
    const { g, x } = start()
    const y = g.batchNorm(x, CHANNELS)
    lastNode(g).output.push('running_mean', 'running_var')
    lastNode(g).name = 'bn/train'
    assert.throws(() => finish(g, y), hasCode('COMPILE_BATCH_NORM_TRAINING', { node: 'bn/train' }))
  })

  test('not further outputs that are left out', () => {
    const { g, x } = start()
    const y = g.batchNorm(x, CHANNELS, 'bn')
    lastNode(g).output.push('', '')
    assert.deepEqual(keysOf(finish(g, y)), ['bn'])
  })
})

test('case 6: parameters computed from an input are refused', () => {
  for (const slot of [1, 2, 3, 4]) {
    const { g, x } = start()
    const computed = g.node('ReduceMean', [x], { axes: { ints: [0, 2, 3] }, keepdims: { int: 0 } })
    const y = g.batchNorm(x, CHANNELS)
    lastNode(g).input[slot] = computed
    lastNode(g).name = 'bn/dynamic'
    assert.throws(() => finish(g, y), hasCode('COMPILE_BATCH_NORM_DYNAMIC', { node: 'bn/dynamic', slot }))
  }
})

describe('case 7: spatial=0 is refused', () => {
  const withSpatial = (value: number) => {
    const { g, x } = start()
    const y = g.batchNorm(x, CHANNELS, 'bn')
    lastNode(g).attribute.push(makeAttribute('spatial', { int: value }))
    lastNode(g).name = 'bn/pixels'
    return () => finish(g, y)
  }

  test('spatial=0', () => {
    assert.throws(withSpatial(0), hasCode('COMPILE_BATCH_NORM_SPATIAL', { node: 'bn/pixels' }))
  })

  test('not spatial=1', () => {
    assert.deepEqual(keysOf(withSpatial(1)()), ['bn'])
  })
})

describe('case 8: inside a body is refused', () => {
  const withIf = (depth: number) => {
    const body = (seed: number): GraphBuilder => {
      const inner = new GraphBuilder({ seed })
      inner.batchNorm('x', CHANNELS, `inner${seed}`)
      inner.output(lastNode(inner).output[0]!, ['n', CHANNELS, 5, 5])
      return inner
    }
    const { g, x } = start()
    const condition = g.input('condition', [], DataType.BOOL)
    let [then, otherwise] = [body(1), body(2)]
    for (let level = 1; level < depth; level++) {
      const outer = new GraphBuilder()
      outer.output(outer.choose(condition, then, otherwise), ['n', CHANNELS, 5, 5])
      const plain = new GraphBuilder()
      plain.output(plain.relu(x), ['n', CHANNELS, 5, 5])
      ;[then, otherwise] = [outer, plain]
    }
    const chosen = g.choose(condition, then, otherwise)
    lastNode(g).name = 'the/if'
    g.batchNorm(x, CHANNELS, 'outer')
    return () => finish(g, chosen, lastNode(g).output[0]!)
  }

  for (const depth of [1, 2]) {
    test(`If, ${depth} deep`, () => {
      assert.throws(withIf(depth), hasCode('COMPILE_BATCH_NORM_NESTED', { node: 'the/if' }))
    })
  }

  test('a function of the model', () => {
    const { g, x } = start()
    const functions = [create(FunctionProtoSchema, { name: 'normalise', node: [lastNode(withNestedNode())] })]
    g.output(g.batchNorm(x, CHANNELS, 'bn'), ['n', CHANNELS, 5, 5])
    const index = indexGraph(g.model.graph)
    assert.equal(readBatchNorms(index).layers.length, 1)
    assert.throws(() => readBatchNorms(index, functions), hasCode('COMPILE_BATCH_NORM_NESTED', { node: 'normalise' }))
  })

  function withNestedNode (): GraphBuilder {
    const inner = new GraphBuilder()
    inner.batchNorm('x', CHANNELS, 'inner')
    return inner
  }
})

describe('case 9: malformed', () => {
  test('arrays of different lengths', () => {
    const { g, x } = start()
    const y = g.batchNorm(x, CHANNELS, 'bn')
    lastNode(g).input[3] = vector(g, 'short', 1, 2)
    lastNode(g).name = 'bn/short'
    assert.throws(() => finish(g, y), hasCode('COMPILE_BATCH_NORM_MALFORMED', {
      node: 'bn/short', received: [CHANNELS, CHANNELS, 2, CHANNELS]
    }))
  })

  test('empty arrays', () => {
    const { g, x } = start()
    const y = batchNormOf(g, x, parametersOf('bn').map((name) => vector(g, name)))
    lastNode(g).name = 'bn/empty'
    assert.throws(() => finish(g, y), hasCode('COMPILE_BATCH_NORM_MALFORMED', { node: 'bn/empty' }))
  })

  test('an input that is missing', () => {
    for (const count of [0, 1, 2, 4]) {
      const { g, x } = start()
      const y = g.batchNorm(x, CHANNELS, 'bn')
      lastNode(g).name = 'bn/missing'
      lastNode(g).input.splice(count)
      assert.throws(() => finish(g, y), hasCode('COMPILE_BATCH_NORM_MALFORMED', { node: 'bn/missing' }))
    }
  })

  for (const [title, slot, value] of [
    ['a negative variance', 4, -1], ['a mean that is no number', 3, NaN], ['an infinite gamma', 1, Infinity]
  ] as const) {
    test(title, () => {
      const { g, x } = start()
      const y = g.batchNorm(x, CHANNELS, 'bn')
      lastNode(g).input[slot] = vector(g, 'odd', 1, 1, value, 1)
      assert.throws(() => finish(g, y), hasCode('COMPILE_BATCH_NORM_MALFORMED', { layer: 'bn', channel: 2 }))
    })
  }
})

describe('case 10: nothing reads it', () => {
  test('a batch norm whose result goes nowhere is no layer', () => {
    const { g, x } = start()
    const dead = g.batchNorm(x, CHANNELS, 'dead')
    g.relu(dead)
    const read = finish(g, g.batchNorm(x, CHANNELS, 'alive'))
    assert.deepEqual(keysOf(read), ['alive'])
    assert.deepEqual(siteKeys(read), ['alive'])
    assert.deepEqual([...read.ownBank.keys()], ['alive'])
  })

  test('it is not refused for what it has wrong', () => {
    const { g, x } = start()
    g.batchNorm(x, CHANNELS, 'dead')
    lastNode(g).attribute.push(makeAttribute('training_mode', { int: 1 }))
    assert.deepEqual(keysOf(finish(g, g.batchNorm(x, CHANNELS, 'alive'))), ['alive'])
  })

  test('a body that reads it keeps it alive', () => {
    const { g, x } = start()
    const y = g.batchNorm(x, CHANNELS, 'bn')
    const body = (opType: string) => {
      const inner = new GraphBuilder()
      return inner.output(inner.node(opType, [y], {}, [`${opType}.out`]), ['n', CHANNELS, 5, 5])
    }
    const chosen = g.choose(g.input('condition', [], DataType.BOOL), body('Relu'), body('Neg'))
    assert.deepEqual(keysOf(finish(g, chosen)), ['bn'])
  })
})

test('case 11: more channels than a port can number are refused', () => {
  const widest = 65535
  for (const channels of [widest, widest + 1]) {
    const g = new GraphBuilder()
    const y = g.batchNorm(g.input('x', ['n', channels]), channels, 'bn')
    lastNode(g).name = 'bn/wide'
    g.output(y, ['n', channels])
    if (channels === widest) assert.equal(read(g).layers[0]!.channels, widest)
    else assert.throws(() => read(g), hasCode('COMPILE_BATCH_NORM_CHANNELS', { node: 'bn/wide', received: channels }))
  }
})

test('parameters in another file are refused as such', () => {
  const { g, x } = start()
  const y = g.batchNorm(x, CHANNELS, 'bn')
  g.model.graph.initializer[2]!.dataLocation = 1
  assert.throws(() => finish(g, y), hasCode('ONNX_UNSUPPORTED'))
})

test('a model without batch norms is refused', () => {
  const { g, x } = start()
  const y = g.relu(x)
  assert.throws(() => finish(g, y), hasCode('COMPILE_NO_BATCH_NORM'))
})

test('a BatchNormalization of another operator domain is none', () => {
  const { g, x } = start()
  const y = g.batchNorm(x, CHANNELS)
  lastNode(g).domain = 'com.example'
  assert.throws(() => finish(g, y), hasCode('COMPILE_NO_BATCH_NORM'))
})
