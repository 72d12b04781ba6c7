import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { PADDING } from '#src/bank/port.js'
import { promotePorts, type PromotedPorts } from '#src/compiler/promote-ports.js'
import { makeSentinel } from '#src/compiler/sentinels.js'
import { intsAttribute } from '#src/onnx/node.js'
import { DataType, float32Tensor, readIntegers } from '#src/onnx/tensor.js'
import type { PortSource } from '#src/compiler/lower-batch-norms.js'
import { GraphBuilder } from '../support/graph-builder.js'

const LAYERS = [{ key: 'bn', channels: 4, epsilon: 1e-5 }]

/** A port of `channels` numbers, whose sentinels begin at `first`; or one that is a graph input already. */
function vectorPort (site: number, at: { first: number } | { input: string }, channels = 4): PortSource {
  const channel = Uint16Array.from({ length: channels }, (_, number) => number)
  const place = 'first' in at ? { range: { first: at.first, length: channels } } : at
  return { site, layerKey: 'bn', role: 'shift', dims: [channels], channel, ...place }
}

/** Writes a port's sentinels into a graph as the optimiser might have: in this order, -1 for padding. */
function place (g: GraphBuilder, { range }: PortSource, name: string, dims: number[], order?: number[]): string {
  const sentinel = makeSentinel(range!)
  const values = order === undefined
    ? sentinel
    : Float32Array.from(order, (element) => element < 0 ? 0 : sentinel[element]!)
  return g.tensor(float32Tensor(name, dims, values))
}

/** A graph that adds up all of the given values, so that each is read. */
function reader (opset = 17): { g: GraphBuilder, read: (...names: string[]) => void } {
  const g = new GraphBuilder({ opset })
  const x = g.input('x', ['n', 4])
  return { g, read: (...names) => { g.output(g.node('Sum', [x, ...names]), ['n', 4]) } }
}

function promoted (g: GraphBuilder, sources: PortSource[]): PromotedPorts {
  const result = promotePorts(g.model, sources, LAYERS)
  assert.ok('layout' in result, 'all ports were found')
  return result
}

const inputNames = (g: GraphBuilder) => g.model.graph.input.map(({ name }) => name)

describe('case 1: a port in one initializer', () => {
  test('as it was', () => {
    const { g, read } = reader()
    const source = vectorPort(0, { first: 0 })
    read(place(g, source, 'renamed', [4]))
    assert.deepEqual(promoted(g, [source]), {
      layout: {
        layers: LAYERS,
        ports: [{ layerKey: 'bn', role: 'shift', offset: 0, channel: Uint16Array.of(0, 1, 2, 3) }],
        length: 4
      },
      inputs: [{ name: 'renamed', offset: 0, dims: [4] }],
      siteBytes: [16]
    })
    assert.deepEqual(inputNames(g), ['x', 'renamed'])
    assert.equal(g.model.graph.initializer.length, 0)
  })

  test('in another order, with padding and other dimensions', () => {
    const { g, read } = reader()
    const source = vectorPort(0, { first: 0 })
    read(place(g, source, 'p', [2, 3], [3, -1, 0, 2, 1, -1]))
    const { layout: { ports: [port] }, inputs, siteBytes } = promoted(g, [source])
    assert.deepEqual([...port!.channel], [3, PADDING, 0, 2, 1, PADDING])
    assert.deepEqual(inputs[0]!.dims, [2, 3])
    assert.deepEqual(siteBytes, [24])
  })

  test('weights follow their elements', () => {
    const { g, read } = reader()
    const source: PortSource = {
      site: 0,
      layerKey: 'bn',
      role: 'weight',
      dims: [2, 2],
      channel: Uint16Array.of(0, 0, 1, 1),
      weights: Float32Array.of(10, 11, 20, 21),
      range: { first: 0, length: 4 }
    }
    read(place(g, source, 'w', [5], [3, 1, -1, 0, 2]))
    const [port] = promoted(g, [source]).layout.ports
    assert.deepEqual([...port!.weights!], [21, 11, 0, 10, 20])
    assert.deepEqual([...port!.channel], [1, 0, PADDING, 0, 1])
  })

  test('the bias of a folded Conv stays with its shift', () => {
    const { g, read } = reader()
    const source = { ...vectorPort(0, { first: 0 }), bias: Float32Array.of(1, 2, 3, 4) }
    read(place(g, source, 'p', [4], [3, 2, 1, 0]))
    assert.deepEqual(promoted(g, [source]).layout.ports[0]!.bias, Float32Array.of(1, 2, 3, 4))
  })

  test('ordinary initializers and those of other types are left alone', () => {
    const { g, read } = reader()
    const source = vectorPort(0, { first: 0 })
    const ordinary = g.floats('ordinary', [4], () => 0.5)
    g.ints('integers', [1, 2, 3])
    read(place(g, source, 'p', [4]), ordinary)
    promoted(g, [source])
    assert.deepEqual(g.model.graph.initializer.map(({ name }) => name), ['ordinary', 'integers'])
  })
})

test('case 2: a port in two initializers fills both', () => {
  const { g, read } = reader()
  const source = vectorPort(0, { first: 0 })
  read(place(g, source, 'a', [4]), place(g, source, 'b', [4], [3, 2, 1, 0]))
  const { layout, siteBytes } = promoted(g, [source])
  assert.deepEqual(layout.ports.map(({ offset, channel }) => [offset, ...channel]), [[0, 0, 1, 2, 3], [4, 3, 2, 1, 0]])
  assert.deepEqual(siteBytes, [32])
})

test('case 3: a port that is a graph input joins the others', () => {
  const { g, read } = reader()
  const sources = [vectorPort(0, { first: 0 }), vectorPort(1, { input: 'given' })]
  g.input('given', [4])
  read(place(g, sources[0]!, 'p', [4]), 'given')
  const { layout, inputs } = promoted(g, sources)
  assert.equal(layout.ports.length, 2)
  assert.equal(inputs.length, 1)
  assert.deepEqual(inputs[0]!.dims, [8])
  assert.deepEqual(inputNames(g), ['x', inputs[0]!.name])
})

describe('case 4: a port that is found nowhere', () => {
  test('the sites that lost one are told, once each', () => {
    const { g, read } = reader()
    const sources = [
      ...[0, 1, 1, 2].map((site, at) => vectorPort(site, { first: 4 * at })), vectorPort(3, { input: 'gone' })
    ]
    read(place(g, sources[0]!, 'p', [4]), g.floats('altered', [4], (at) => 2 * makeSentinel(sources[3]!.range!)[at]!))
    assert.deepEqual(promotePorts(g.model, sources, LAYERS), { lostSites: [1, 2, 3] })
  })

  test('half a port is none', () => {
    const { g, read } = reader()
    const source = vectorPort(0, { first: 0 })
    read(place(g, source, 'p', [3], [0, 1, 2]))
    assert.deepEqual(promotePorts(g.model, [source], LAYERS), { lostSites: [0] })
  })
})

describe('the flat bank', () => {
  const several = (opset = 17) => {
    const { g, read } = reader(opset)
    const sources = [0, 0, 1, 1].map((site, at) => vectorPort(site, { first: 4 * at }))
    read(
      place(g, sources[0]!, 'a', [4]), place(g, sources[1]!, 'b', [4, 1, 1, 1]), place(g, sources[2]!, 'c', [4]),
      place(g, sources[3]!, 'd', [8, 1, 1, 1], [0, 1, 2, 3, -1, -1, -1, -1])
    )
    return { g, ...promoted(g, sources) }
  }

  test('ports whose trailing dimensions agree share an input', () => {
    const { inputs, layout, siteBytes } = several()
    assert.deepEqual(inputs.map(({ dims }) => dims), [[8], [12, 1, 1, 1]])
    assert.deepEqual(layout.ports.map(({ channel }) => channel.length), [4, 4, 4, 8])
    assert.deepEqual(siteBytes, [32, 48])
  })

  test('every slice starts on a cache line, and the bank ends with the last', () => {
    const { inputs, layout } = several()
    assert.deepEqual(inputs.map(({ offset }) => offset), [0, 16])
    assert.deepEqual(layout.ports.map(({ offset }) => offset), [0, 4, 16, 20])
    assert.equal(layout.length, 28)
  })

  test('a Split cuts each shared input into what the nodes read', () => {
    const { g, inputs } = several()
    const [second, first] = g.model.graph.node.filter(({ opType }) => opType === 'Split')
    assert.deepEqual([first!.input[0], second!.input[0]], inputs.map(({ name }) => name))
    assert.deepEqual(first!.output, ['a', 'c'])
    assert.deepEqual(second!.output, ['b', 'd'])
    const sizes = g.model.graph.initializer.find(({ name }) => name === second!.input[1])!
    assert.deepEqual(readIntegers(sizes), [4, 8])
    assert.equal(sizes.dataType, DataType.INT64)
  })

  test('before operator set 13 the sizes are an attribute', () => {
    const { g } = several(12)
    const [second] = g.model.graph.node.filter(({ opType }) => opType === 'Split')
    assert.equal(second!.input.length, 1)
    assert.deepEqual(intsAttribute(second!, 'split'), [4, 8])
  })
})
