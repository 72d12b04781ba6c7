import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { PADDING } from '#src/bank/port.js'
import { findFoldableConv } from '#src/compiler/find-foldable-conv.js'
import { lowerBatchNorms, type PortSource } from '#src/compiler/lower-batch-norms.js'
import { readBatchNorms } from '#src/compiler/read-batch-norms.js'
import { makeSentinel } from '#src/compiler/sentinels.js'
import { indexGraph } from '#src/onnx/graph.js'
import { attributeOf, floatAttribute, intAttribute, intsAttribute } from '#src/onnx/node.js'
import { DataType, dimsOf, readFloat32 } from '#src/onnx/tensor.js'
import type { SiteKind } from '#src/compiler/plan.js'
import { GraphBuilder } from '../support/graph-builder.js'

interface Lowered {
  g: GraphBuilder
  ports: PortSource[]
}

/** Lowers all sites of a graph in the given ways. */
function lower (kinds: SiteKind[], build: (g: GraphBuilder, x: string) => string): Lowered {
  const g = new GraphBuilder()
  g.output(build(g, g.input('x', ['n', 3, 6, 6])), ['n', 4, 6, 6])
  return { g, ports: lowerAll(g, kinds) }
}

function lowerAll (g: GraphBuilder, kinds: SiteKind[]): PortSource[] {
  const index = indexGraph(g.model.graph)
  return lowerBatchNorms(g.model, readBatchNorms(index).sites.map((site, at) => {
    const kind = kinds[at]!
    const conv = kind === 'fold' ? findFoldableConv(index, site) : undefined
    return { site, kind, ...(conv === undefined ? {} : { conv }) }
  }))
}

const opTypes = ({ g }: Lowered) => g.model.graph.node.map(({ opType }) => opType)
const initializers = ({ g }: Lowered) => new Map(g.model.graph.initializer.map((tensor) => [tensor.name, tensor]))
const inputNames = ({ g }: Lowered) => g.model.graph.input.map(({ name }) => name)

/** The initializer behind a node's input holds the sentinels of a port. */
function assertHoldsPort (lowered: Lowered, name: string, port: PortSource): void {
  const tensor = initializers(lowered).get(name)!
  assert.deepEqual(dimsOf(tensor), port.dims)
  assert.deepEqual(readFloat32(tensor), makeSentinel(port.range!))
}

const convBn = (g: GraphBuilder, x: string, bias = false) => {
  return g.batchNorm(g.conv(x, { inputs: 3, outputs: 4, kernel: 3, bias, name: 'conv' }), 4, 'bn')
}

describe('case 1: fold', () => {
  const weights = (g: GraphBuilder) => {
    return readFloat32(g.model.graph.initializer.find(({ name }) => name === 'conv.weight')!)
  }

  test('the Conv takes the ports and makes the output of the batch norm, which goes', () => {
    let original: Float32Array | undefined
    const lowered = lower(['fold'], (g, x) => {
      const y = g.relu(convBn(g, x))
      original = weights(g)
      return y
    })
    const { g, ports } = lowered
    assert.deepEqual(opTypes(lowered), ['Conv', 'Relu'])
    const [conv, relu] = g.model.graph.node
    assert.equal(conv!.output[0], relu!.input[0])
    assert.deepEqual(intsAttribute(conv!, 'kernel_shape'), [3, 3])
    assert.deepEqual(ports.map(({ role, layerKey, site }) => ({ role, layerKey, site })), [
      { role: 'weight', layerKey: 'bn', site: 0 }, { role: 'shift', layerKey: 'bn', site: 0 }
    ])
    const [weight, shift] = ports
    assert.deepEqual(weight!.dims, [4, 3, 3, 3])
    assert.deepEqual(weight!.weights, original)
    assert.deepEqual([...weight!.channel], Array.from({ length: 4 * 27 }, (_, at) => Math.floor(at / 27)))
    assert.deepEqual(shift!.dims, [4])
    assert.deepEqual([...shift!.channel], [0, 1, 2, 3])
    assert.equal(shift!.bias, undefined)
    assertHoldsPort(lowered, conv!.input[1]!, weight!)
    assertHoldsPort(lowered, conv!.input[2]!, shift!)
  })

  test('weights and statistics that nothing reads any more go', () => {
    const lowered = lower(['fold'], convBn)
    assert.equal(initializers(lowered).size, 2)
  })

  test('weights that another Conv reads stay', () => {
    const lowered = lower(['fold'], (g, x) => {
      const y = convBn(g, x)
      return g.add(y, g.node('Conv', [g.relu(x), 'conv.weight'], { pads: { ints: [1, 1, 1, 1] } }))
    })
    assert.ok(initializers(lowered).has('conv.weight'))
  })
})

test('case 2: fold of a Conv with a bias', () => {
  let bias: Float32Array | undefined
  const { ports } = lower(['fold'], (g, x) => {
    const y = convBn(g, x, true)
    bias = readFloat32(g.model.graph.initializer.find(({ name }) => name === 'conv.bias')!)
    return y
  })
  assert.deepEqual(ports[1]!.bias, bias)
})

test('case 3: affine', () => {
  const lowered = lower(['affine'], (g, x) => g.relu(convBn(g, x)))
  const { g, ports } = lowered
  assert.deepEqual(opTypes(lowered), ['Conv', 'Conv', 'Relu'])
  const [conv, affine, relu] = g.model.graph.node
  assert.equal(affine!.input[0], conv!.output[0])
  assert.equal(relu!.input[0], affine!.output[0])
  assert.equal(intAttribute(affine!, 'group', 1), 4)
  assert.deepEqual(intsAttribute(affine!, 'kernel_shape'), [1, 1])
  assert.deepEqual(ports.map(({ role, dims, channel }) => ({ role, dims, channel: [...channel] })), [
    { role: 'scale', dims: [4, 1, 1, 1], channel: [0, 1, 2, 3] }, { role: 'shift', dims: [4], channel: [0, 1, 2, 3] }
  ])
  assertHoldsPort(lowered, affine!.input[1]!, ports[0]!)
  assertHoldsPort(lowered, affine!.input[2]!, ports[1]!)
})

test('case 4: generic', () => {
  const lowered = lower(['generic'], convBn)
  const { g, ports } = lowered
  assert.deepEqual(opTypes(lowered), ['Conv', 'BatchNormalization'])
  const node = g.model.graph.node[1]!
  assert.ok(attributeOf(node, 'epsilon') !== undefined)
  assert.equal(floatAttribute(node, 'epsilon', 1), 0)
  assert.deepEqual(ports.map(({ role, dims, input }) => ({ role, dims, input })), [
    { role: 'scale', dims: [4], input: node.input[1] }, { role: 'shift', dims: [4], input: node.input[2] }
  ])
  assert.deepEqual(inputNames(lowered), ['x', node.input[1], node.input[2]])
  assert.deepEqual([...readFloat32(initializers(lowered).get(node.input[3]!)!)], [0, 0, 0, 0])
  assert.deepEqual([...readFloat32(initializers(lowered).get(node.input[4]!)!)], [1, 1, 1, 1])
})

describe('several sites', () => {
  const chain = (g: GraphBuilder, x: string) => {
    const y = g.relu(convBn(g, x))
    const z = g.batchNorm(g.conv(y, { inputs: 4, outputs: 4, kernel: 1, group: 2, name: 'second' }), 4, 'bn2')
    return g.batchNorm(g.relu(z), 4, 'bn3')
  }

  test('sentinel ranges lie end to end', () => {
    const { ports } = lower(['affine', 'fold', 'generic'], chain)
    assert.deepEqual(ports.map(({ site, role }) => [site, role]), [
      [0, 'scale'], [0, 'shift'], [1, 'weight'], [1, 'shift'], [2, 'scale'], [2, 'shift']
    ])
    assert.deepEqual(ports.map(({ range }) => range), [
      { first: 0, length: 4 }, { first: 4, length: 4 }, { first: 8, length: 8 }, { first: 16, length: 4 },
      undefined, undefined
    ])
  })

  test('no value is made before it is read', () => {
    for (const kinds of [['fold', 'fold', 'affine'], ['generic', 'affine', 'generic']] as SiteKind[][]) {
      const { g } = lower(kinds, chain)
      const known = new Set([...g.model.graph.input, ...g.model.graph.initializer].map(({ name }) => name))
      for (const { input, output } of g.model.graph.node) {
        for (const name of input) assert.ok(known.has(name), name)
        for (const name of output) known.add(name)
      }
    }
  })
})

test('Convs that share weights get ports of their own', () => {
  const { ports } = lower(['fold', 'fold'], (g, x) => {
    const y = convBn(g, x)
    return g.add(y, g.batchNorm(g.node('Conv', [g.relu(x), 'conv.weight'], { pads: { ints: [1, 1, 1, 1] } }), 4, 'bn2'))
  })
  const [first, , second] = ports
  assert.deepEqual(first!.weights, second!.weights)
  assert.notEqual(first!.range!.first, second!.range!.first)
})

test('names of the graph that look like ours are left alone', () => {
  const lowered = lower(['affine'], (g, x) => {
    return g.add(convBn(g, x), g.floats('bankswitch.port.0', [1], () => 7))
  })
  assert.deepEqual([...readFloat32(initializers(lowered).get('bankswitch.port.0')!)], [7])
  assert.equal(initializers(lowered).size, 4)
})

describe('graph inputs', () => {
  test('initializers that were listed as inputs become constants', () => {
    const g = new GraphBuilder()
    g.output(convBn(g, g.input('x', ['n', 3, 6, 6])), ['n', 4, 6, 6])
    g.listInitializersAsInputs()
    lowerAll(g, ['affine'])
    assert.deepEqual(g.model.graph.input.map(({ name }) => name), ['x'])
  })

  test('all others stay, whoever reads them', () => {
    const g = new GraphBuilder()
    const x = g.input('x', ['n', 3, 6, 6])
    g.input('unused', [1])
    g.input('inside', ['n', 4, 6, 6])
    const y = convBn(g, x)
    const body = (other: string) => {
      const inner = new GraphBuilder()
      return inner.output(inner.node('Add', [y, other], {}, [`${other}.sum`]), ['n', 4, 6, 6])
    }
    g.output(g.choose(g.input('condition', [], DataType.BOOL), body('inside'), body(y)), ['n', 4, 6, 6])
    lowerAll(g, ['affine'])
    assert.deepEqual(g.model.graph.input.map(({ name }) => name), ['x', 'unused', 'inside', 'condition'])
  })
})

test('the widest port numbers every channel', () => {
  const channels = PADDING
  const g = new GraphBuilder()
  g.output(g.batchNorm(g.input('x', ['n', channels]), channels), ['n', channels])
  const [scale] = lowerAll(g, ['generic'])
  assert.equal(scale!.channel.length, channels)
  assert.equal(scale!.channel.at(-1), PADDING - 1)
  assert.ok(!scale!.channel.includes(PADDING))
})
