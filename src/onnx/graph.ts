/**
 * A graph's wiring: who makes a value, who reads it, which names are taken.
 *
 * An index is a snapshot. A pass that has rewired the graph throws its index away and makes a new one.
 */
import { onnxErrors } from './errors.js'
import type { GraphProto, NodeProto, TensorProto } from './generated/onnx_pb.js'

export interface GraphIndex {
  readonly graph: GraphProto
  /** The node whose output a value is; absent for inputs and initializers. */
  readonly producerOf: ReadonlyMap<string, NodeProto>
  /** How often a value is read: by node inputs (nested graphs included) and as a graph output. */
  readonly readersOf: ReadonlyMap<string, number>
  readonly initializerOf: ReadonlyMap<string, TensorProto>
  readonly outputs: ReadonlySet<string>
}

/** Throws ONNX_MALFORMED when two nodes make the same value. */
export function indexGraph (graph: GraphProto): GraphIndex {
  const producerOf = new Map<string, NodeProto>()
  const readersOf = new Map<string, number>()
  const countReader = (value: string) => readersOf.set(value, (readersOf.get(value) ?? 0) + 1)
  for (const node of graph.node) {
    for (const output of node.output) {
      if (output === '') continue
      if (producerOf.has(output)) throw onnxErrors.ONNX_MALFORMED(`two nodes make the value "${output}"`)
      producerOf.set(output, node)
    }
  }
  for (const node of graph.node) for (const value of valuesReadBy(node)) countReader(value)
  const initializerOf = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]))
  const outputs = new Set(graph.output.map(({ name }) => name))
  for (const output of outputs) countReader(output)
  return { graph, producerOf, readersOf, initializerOf, outputs }
}

/** Every value that a node reads, as often; what its nested graphs (If, Loop, Scan) read and give out too. */
export function * valuesReadBy (node: NodeProto): Generator<string> {
  for (const input of node.input) if (input !== '') yield input
  for (const nested of nestedGraphs(node)) {
    for (const inner of nested.node) yield * valuesReadBy(inner)
    for (const { name } of nested.output) yield name
  }
}

export function nestedGraphs (node: NodeProto): GraphProto[] {
  return node.attribute.flatMap(({ g, graphs }) => g === undefined ? graphs : [g, ...graphs])
}

/**
 * The nodes in an order in which every value is made before it is read (Kahn, 1962); ties keep the file's order.
 * Throws ONNX_CYCLIC naming a node on a cycle.
 */
export function topologicalOrder (index: GraphIndex): NodeProto[] {
  const waitingFor = new Map<NodeProto, number>()
  const dependants = new Map<NodeProto, NodeProto[]>()
  for (const node of index.graph.node) {
    const producers = new Set<NodeProto>()
    for (const value of valuesReadBy(node)) {
      const producer = index.producerOf.get(value)
      if (producer !== undefined) producers.add(producer)
    }
    waitingFor.set(node, producers.size)
    for (const producer of producers) {
      const list = dependants.get(producer)
      if (list === undefined) dependants.set(producer, [node])
      else list.push(node)
    }
  }
  const order = index.graph.node.filter((node) => waitingFor.get(node) === 0)
  for (let at = 0; at < order.length; at++) {
    for (const dependant of dependants.get(order[at]!) ?? []) {
      const left = waitingFor.get(dependant)! - 1
      waitingFor.set(dependant, left)
      if (left === 0) order.push(dependant)
    }
  }
  if (order.length < index.graph.node.length) {
    const node = nodeOnCycle(index, (node) => waitingFor.get(node)! > 0)
    throw onnxErrors.ONNX_CYCLIC(`the graph has a cycle through node ${describeNode(node)}`, { node: node.name })
  }
  return order
}

/** Goes from a stuck node to one that it waits for, until it comes round: the first may only lead to the cycle. */
function nodeOnCycle (index: GraphIndex, isStuck: (node: NodeProto) => boolean): NodeProto {
  const seen = new Set<NodeProto>()
  let node = index.graph.node.find(isStuck)!
  while (!seen.has(node)) {
    seen.add(node)
    for (const value of valuesReadBy(node)) {
      const producer = index.producerOf.get(value)
      if (producer === undefined || !isStuck(producer)) continue
      node = producer
      break
    }
  }
  return node
}

/** A node for a message: its name where it has one, else what it makes. */
export function describeNode (node: NodeProto): string {
  return `"${node.name === '' ? node.output[0] ?? '?' : node.name}" (${node.opType})`
}

/**
 * Renames the values that a node reads and makes, in place; what its nested graphs read and give out too. Values that
 * only a nested graph has must be left alone by `rename`.
 */
export function renameValues (node: NodeProto, rename: (value: string) => string): void {
  node.input = node.input.map(rename)
  node.output = node.output.map(rename)
  for (const nested of nestedGraphs(node)) {
    for (const inner of nested.node) renameValues(inner, rename)
    for (const output of nested.output) output.name = rename(output.name)
  }
}

/** Hands out names that no value, node or initializer of the graph or of a graph nested in it has. */
export function createNamer (graph: GraphProto): (wish: string) => string {
  const taken = new Set<string>()
  collectNames(graph, taken)
  return (wish) => {
    let name = wish
    for (let suffix = 1; taken.has(name); suffix++) name = `${wish}_${suffix}`
    taken.add(name)
    return name
  }
}

function collectNames (graph: GraphProto, taken: Set<string>): void {
  for (const { name } of [...graph.initializer, ...graph.input, ...graph.output]) taken.add(name)
  for (const node of graph.node) {
    taken.add(node.name)
    for (const value of [...node.input, ...node.output]) taken.add(value)
    for (const nested of nestedGraphs(node)) collectNames(nested, taken)
  }
}

/** Removes initializers and nodes that nothing reads any more, until nothing changes; tells whether any went. */
export function removeUnused (graph: GraphProto): boolean {
  let hasChanged = false
  for (;;) {
    const { readersOf } = indexGraph(graph)
    const isRead = (value: string) => (readersOf.get(value) ?? 0) > 0
    const nodes = graph.node.filter((node) => node.output.some(isRead))
    const initializers = graph.initializer.filter(({ name }) => isRead(name))
    if (nodes.length === graph.node.length && initializers.length === graph.initializer.length) return hasChanged
    graph.node = nodes
    graph.initializer = initializers
    hasChanged = true
  }
}
