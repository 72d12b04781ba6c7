import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readBatchNorms } from '#src/compiler/read-batch-norms.js'
import { writeBankInto } from '#src/compiler/with-bank.js'
import { indexGraph } from '#src/onnx/graph.js'
import { readFloat32 } from '#src/onnx/tensor.js'
import { randomBank } from '../support/compile.js'
import { GraphBuilder } from '../support/graph-builder.js'

function network (): GraphBuilder {
  const g = new GraphBuilder()
  const y = g.batchNorm(g.input('x', ['n', 4, 5, 5]), 4, 'bn1')
  const z = g.batchNorm(g.relu(y), 4, 'bn2')
  const again = g.node('BatchNormalization', [
    g.relu(z), 'bn1.weight', 'bn1.bias', 'bn1.running_mean', 'bn1.running_var'
  ])
  g.output(g.add(again, g.node('Mul', [z, 'bn2.bias'])), ['n', 4, 5, 5])
  return g
}

const read = (g: GraphBuilder) => readBatchNorms(indexGraph(g.model.graph))

test('reading back what was written gives the bank', () => {
  const g = network()
  const { layers, sites } = read(g)
  const bank = randomBank({ layers }, 1)
  writeBankInto(g.model, sites, bank)
  const after = read(g)
  assert.deepEqual(after.sites.map(({ layer }) => layer.channels), [4, 4, 4])
  const written = [...after.ownBank.values()]
  assert.deepEqual(written[0], bank.get('bn1'))
  assert.deepEqual(written[1], bank.get('bn2'))
})

test('every site of a layer gets its statistics', () => {
  const g = network()
  const { layers, sites } = read(g)
  const bank = randomBank({ layers }, 2)
  writeBankInto(g.model, sites, bank)
  const valueOf = (name: string) => readFloat32(g.model.graph.initializer.find((tensor) => tensor.name === name)!)
  for (const { node, layer: { key } } of sites) {
    const { gamma, beta, mean, variance } = bank.get(key)!
    assert.deepEqual(node.input.slice(1).map(valueOf), [gamma, beta, mean, variance])
  }
})

test('initializers that other nodes read keep their values', () => {
  const g = network()
  const before = new Map(g.model.graph.initializer.map((tensor) => [tensor.name, readFloat32(tensor).slice()]))
  const { layers, sites } = read(g)
  writeBankInto(g.model, sites, randomBank({ layers }, 3))
  for (const [name, values] of before) {
    assert.deepEqual(readFloat32(g.model.graph.initializer.find((tensor) => tensor.name === name)!), values)
  }
})

test('names that the graph has already are not taken', () => {
  const g = network()
  g.floats('bn1.0', [1], () => 1)
  const { layers, sites } = read(g)
  writeBankInto(g.model, sites, randomBank({ layers }, 4))
  const names = g.model.graph.initializer.map(({ name }) => name)
  assert.equal(new Set(names).size, names.length)
})
