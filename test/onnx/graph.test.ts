import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { AttributeProtoSchema, GraphProtoSchema, type GraphProto, type NodeProto } from '#src/onnx/generated/onnx_pb.js'
import {
  createNamer, describeNode, indexGraph, nestedGraphs, removeUnused, topologicalOrder
} from '#src/onnx/graph.js'
import { makeNode, makeValueInfo } from '#src/onnx/node.js'
import { DataType, float32Tensor } from '#src/onnx/tensor.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'

/** "name: a b -> c" is a node of that name; "a b -> c" one without. */
function nodeOf (text: string, ...bodies: GraphProto[]): NodeProto {
  const [, name = '', inputs, outputs] = /^(?:(\w+): )?(.*?) ?->(.*)$/.exec(text)!
  const list = (words: string) => (words.match(/\w+/g) ?? []).map((word) => word === '_' ? '' : word)
  const node = makeNode('Op', name, list(inputs!), list(outputs!))
  node.attribute = bodies.map((g, at) => create(AttributeProtoSchema, { name: `body${at}`, type: 5, g }))
  return node
}

interface Parts {
  nodes: Array<string | NodeProto>
  initializers?: string[]
  inputs?: string[]
  outputs?: string[]
}

function graphOf ({ nodes, initializers = [], inputs = [], outputs = [] }: Parts): GraphProto {
  const info = (name: string) => makeValueInfo(name, DataType.FLOAT, [1])
  return create(GraphProtoSchema, {
    node: nodes.map((node) => typeof node === 'string' ? nodeOf(node) : node),
    initializer: initializers.map((name) => float32Tensor(name, [1], Float32Array.of(1))),
    input: inputs.map(info),
    output: outputs.map(info)
  })
}

const namesOf = (nodes: readonly NodeProto[]) => nodes.map(({ name }) => name)

describe('indexGraph', () => {
  test('knows producers, initializers and outputs', () => {
    const graph = graphOf({ nodes: ['conv: x w -> y', 'split: y -> a _ b'], initializers: ['w'], outputs: ['a'] })
    const { producerOf, initializerOf, outputs } = indexGraph(graph)
    const producers = [...producerOf].map(([value, { name }]) => [value, name])
    assert.deepEqual(producers, [['y', 'conv'], ['a', 'split'], ['b', 'split']])
    assert.deepEqual([...initializerOf.keys()], ['w'])
    assert.equal(initializerOf.get('w'), graph.initializer[0])
    assert.deepEqual([...outputs], ['a'])
  })

  test('counts readers: every use by a node, and once as an output of the graph', () => {
    const graph = graphOf({ nodes: ['x x w -> y', 'y _ -> z', 'y -> u'], outputs: ['y', 'y', 'z'] })
    const { readersOf } = indexGraph(graph)
    assert.deepEqual(Object.fromEntries(readersOf), { x: 2, w: 1, y: 3, z: 1 })
  })

  test('counts readers inside of nested graphs, at any depth, and what those give out', () => {
    const innermost = graphOf({ nodes: ['w -> deep'], outputs: ['deep', 'far'] })
    const body = graphOf({ nodes: ['w y -> inner', nodeOf('c -> d', innermost)], outputs: ['d', 'y'] })
    const graph = graphOf({ nodes: [nodeOf('cond -> z', body, graphOf({ nodes: [], outputs: ['w'] }))] })
    const { readersOf, producerOf } = indexGraph(graph)
    assert.deepEqual(Object.fromEntries(readersOf), { cond: 1, w: 3, y: 2, c: 1, deep: 1, far: 1, d: 1 })
    assert.deepEqual([...producerOf.keys()], ['z'])
  })

  test('lists of graphs are nested graphs too', () => {
    const node = nodeOf('-> z')
    const bodies = [graphOf({ nodes: ['a -> b'] }), graphOf({ nodes: ['a -> c'] })]
    node.attribute.push(create(AttributeProtoSchema, { name: 'bodies', graphs: bodies }))
    assert.equal(nestedGraphs(node).length, 2)
    assert.equal(indexGraph(graphOf({ nodes: [node] })).readersOf.get('a'), 2)
  })

  test('refuses two nodes that make the same value', () => {
    for (const nodes of [['x -> y', 'x -> y'], ['x -> y y']]) {
      assert.throws(() => indexGraph(graphOf({ nodes })), hasCode('ONNX_MALFORMED'))
    }
    assert.equal(indexGraph(graphOf({ nodes: ['x -> _ a', 'x -> _ b'] })).producerOf.size, 2)
  })

  test('values named like members of Object', () => {
    const { producerOf, readersOf } = indexGraph(graphOf({ nodes: ['constructor -> __proto__'] }))
    assert.equal(producerOf.has('constructor'), false)
    assert.equal(readersOf.get('__proto__'), undefined)
    assert.equal(producerOf.has('__proto__'), true)
  })
})

describe('topologicalOrder', () => {
  const orderOf = (...nodes: Array<string | NodeProto>) => namesOf(topologicalOrder(indexGraph(graphOf({ nodes }))))

  test('keeps the file\'s order where nothing speaks against it', () => {
    assert.deepEqual(orderOf('a: x -> 1', 'b: x -> 2', 'c: x -> 3'), ['a', 'b', 'c'])
    assert.deepEqual(orderOf('a: x -> 1', 'b: 1 -> 2', 'c: 2 -> 3'), ['a', 'b', 'c'])
    assert.deepEqual(orderOf('a: x -> 1', 'b: 1 -> 2', 'c: 1 -> 3', 'd: 2 3 -> 4'), ['a', 'b', 'c', 'd'])
  })

  test('puts what makes a value before what reads it', () => {
    assert.deepEqual(orderOf('c: 2 -> 3', 'b: 1 1 -> 2', 'a: x -> 1'), ['a', 'b', 'c'])
  })

  test('a nested graph reads for its node, also what it only hands out', () => {
    const reads = nodeOf('if: -> z', graphOf({ nodes: ['1 -> y'], outputs: ['y'] }))
    assert.deepEqual(orderOf(reads, 'a: x -> 1'), ['a', 'if'])
    const handsOut = nodeOf('if: -> z', graphOf({ nodes: [], outputs: ['1'] }))
    assert.deepEqual(orderOf(handsOut, 'a: x -> 1'), ['a', 'if'])
    const deep = nodeOf('if: -> z', graphOf({ nodes: [nodeOf('-> y', graphOf({ nodes: [], outputs: ['1'] }))] }))
    assert.deepEqual(orderOf(deep, 'a: x -> 1'), ['a', 'if'])
  })

  test('any acyclic graph in any order of the file', () => {
    const edges = fc.array(fc.tuple(fc.nat({ max: 15 }), fc.nat({ max: 15 })), { maxLength: 40 })
    const shuffled = fc.shuffledSubarray(Array.from({ length: 16 }, (_, at) => at), { minLength: 16 })
    fc.assert(fc.property(edges, shuffled, (pairs, fileOrder) => {
      const readBy = (node: number) => pairs.filter(([from, to]) => from < to && to === node).map(([from]) => `v${from}`)
      const nodes = fileOrder.map((node) => `n${node}: ${readBy(node).join(' ')} -> v${node}`)
      const order = orderOf(...nodes)
      assert.deepEqual(new Set(order), new Set(fileOrder.map((node) => `n${node}`)))
      for (const [from, to] of pairs) {
        if (from < to) assert.ok(order.indexOf(`n${from}`) < order.indexOf(`n${to}`))
      }
    }), { seed: runSeed })
  })

  test('a cycle is refused by the name of a node on it', () => {
    const on = (...names: string[]) => (error: unknown) => {
      assert.ok(hasCode('ONNX_CYCLIC')(error))
      const { node } = (error as { details: { node: string } }).details
      assert.ok(names.includes(node), `${node} is on no cycle`)
      return (error as Error).message.includes(`"${node}" (Op)`)
    }
    assert.throws(() => orderOf('a: 1 -> 1'), on('a'))
    assert.throws(() => orderOf('a: 2 -> 1', 'b: 1 -> 2'), on('a', 'b'))
    assert.throws(() => orderOf('ok: x -> 0', 'a: 0 3 -> 1', 'b: 1 -> 2', 'c: 2 -> 3'), on('a', 'b', 'c'))
  })

  test('nodes that only wait for a cycle are not on it', () => {
    assert.throws(() => orderOf('late: 3 -> 4', 'later: 4 -> 5', 'a: 2 -> 1', 'b: 1 -> 2 3'), (error: unknown) => {
      assert.ok(hasCode('ONNX_CYCLIC')(error))
      return ['a', 'b'].includes((error as { details: { node: string } }).details.node)
    })
  })

  test('a cycle through a nested graph', () => {
    const reads = nodeOf('if: -> z', graphOf({ nodes: ['z -> y'] }))
    assert.throws(() => orderOf(reads), hasCode('ONNX_CYCLIC', { node: 'if' }))
  })

  test('a long chain, backwards', () => {
    const length = 20_000
    const nodes = Array.from({ length }, (_, at) => makeNode('Op', `n${at}`, [`v${at}`], [`v${at + 1}`]))
    const order = topologicalOrder(indexGraph(graphOf({ nodes: nodes.reverse() })))
    assert.deepEqual([order.length, order[0]!.name, order.at(-1)!.name], [length, 'n0', `n${length - 1}`])
  })
})

test('a node is described by its name, else by what it makes', () => {
  assert.equal(describeNode(nodeOf('conv1: x -> y')), '"conv1" (Op)')
  assert.equal(describeNode(nodeOf('x -> y')), '"y" (Op)')
  assert.equal(describeNode(nodeOf('x ->')), '"?" (Op)')
})

describe('createNamer', () => {
  test('gives the wish where it is free, else a number behind it', () => {
    const fresh = createNamer(graphOf({ nodes: ['x -> port'] }))
    assert.deepEqual(['port', 'port', 'scale', 'scale'].map(fresh), ['port_1', 'port_2', 'scale', 'scale_1'])
    assert.equal(fresh('port_1'), 'port_1_1')
  })

  test('takes no name of a value, node, initializer, input or output, nested ones included', () => {
    const level = (depth: number, ...bodies: GraphProto[]) => graphOf({
      nodes: [nodeOf(`n${depth}: a${depth} -> b${depth}`, ...bodies)],
      initializers: [`w${depth}`],
      inputs: [`i${depth}`],
      outputs: [`o${depth}`]
    })
    const fresh = createNamer(level(1, level(2, level(3))))
    for (const depth of [1, 2, 3]) {
      for (const kind of 'nabwio') assert.equal(fresh(`${kind}${depth}`), `${kind}${depth}_1`)
    }
  })
})

describe('removeUnused', () => {
  test('removes what nothing reads, again and again, and tells so', () => {
    const graph = graphOf({
      nodes: ['keep: x w -> y', 'dead1: x u -> d1', 'dead2: d1 -> d2', 'dead3: d2 -> d3'],
      initializers: ['w', 'u', 'v'],
      inputs: ['x', 'spare'],
      outputs: ['y']
    })
    assert.equal(removeUnused(graph), true)
    assert.deepEqual([namesOf(graph.node), namesOf(graph.initializer as never)], [['keep'], ['w']])
    assert.deepEqual(graph.input.map(({ name }) => name), ['x', 'spare'])
    assert.equal(removeUnused(graph), false)
  })

  test('a node stays while one of its outputs is read', () => {
    const graph = graphOf({ nodes: ['split: x -> a b', 'none: x -> _'], outputs: ['b'] })
    assert.equal(removeUnused(graph), true)
    assert.deepEqual(namesOf(graph.node), ['split'])
  })

  test('what only a nested graph reads stays, an output of the graph too', () => {
    const body = graphOf({ nodes: ['w a -> y'], outputs: ['y', 'b'] })
    const graph = graphOf({
      nodes: ['a: x -> a', 'b: x -> b', nodeOf('if: c -> z', body)],
      initializers: ['w', 'direct'],
      outputs: ['z', 'direct']
    })
    assert.equal(removeUnused(graph), false)
    assert.equal(graph.node.length + graph.initializer.length, 5)
  })
})
