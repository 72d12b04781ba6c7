import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { fingerprintOf } from '#src/compiler/fingerprint.js'
import { readBatchNorms } from '#src/compiler/read-batch-norms.js'
import { indexGraph } from '#src/onnx/graph.js'
import { makeAttribute } from '#src/onnx/node.js'
import { readFloat32 } from '#src/onnx/tensor.js'
import type { NodeProto } from '#src/onnx/generated/onnx_pb.js'
import { GraphBuilder } from '../support/graph-builder.js'
import { hasCode } from '../support/errors.js'

interface Variant {
  seed?: number
  key?: string
  channels?: number
  epsilon?: number
  stride?: number
  /** Changes the graph before its fingerprint is taken. */
  edit? (g: GraphBuilder): void
  /** Adds something at the end. */
  end? (g: GraphBuilder, y: string): string
}

/** conv -> bn -> relu -> conv -> bn -> head, by default always the same one. */
function network (variant: Variant = {}): GraphBuilder {
  const { seed = 1, key = 'bn1', channels = 4, epsilon = 1e-5, stride = 1, edit, end } = variant
  const g = new GraphBuilder({ seed })
  const x = g.input('x', ['n', 3, 8, 8])
  const y = g.batchNorm(g.conv(x, { inputs: 3, outputs: channels, kernel: 3, name: 'conv1' }), channels, key, epsilon)
  const z = g.conv(g.relu(y), { inputs: channels, outputs: 4, kernel: 3, stride, bias: true, name: 'conv2' })
  const logits = g.head(g.batchNorm(z, 4, 'bn2'), 4, 5)
  g.output(end === undefined ? logits : end(g, logits), ['n', 5])
  edit?.(g)
  return g
}

function fingerprint (variant: Variant = {}): string {
  const index = indexGraph(network(variant).model.graph)
  return fingerprintOf(index, readBatchNorms(index))
}

const nodeOf = (g: GraphBuilder, opType: string): NodeProto => {
  return g.model.graph.node.find((node) => node.opType === opType)!
}

const tensorOf = (g: GraphBuilder, name: string): Float32Array => {
  return readFloat32(g.model.graph.initializer.find((tensor) => tensor.name === name)!)
}

const setAttribute = (node: NodeProto, name: string, ints: number[]) => {
  node.attribute = [...node.attribute.filter((other) => other.name !== name), makeAttribute(name, { ints })]
}

const autoPad = (mode: string) => (g: GraphBuilder) => {
  g.nodeWithText('Conv', ['a', 'b'], 'auto_pad', mode)
  const [attribute] = g.model.graph.node.pop()!.attribute
  nodeOf(g, 'Conv').attribute.push(attribute!)
}

const ORIGINAL = fingerprint()

test('is 64 hex digits, the same every time', () => {
  assert.match(ORIGINAL, /^[0-9a-f]{64}$/)
  assert.equal(fingerprint(), ORIGINAL)
})

describe('stays the same under', () => {
  const same: Array<[string, Variant]> = [
    ['other statistics', {
      edit: (g) => {
        for (const suffix of ['weight', 'bias', 'running_mean', 'running_var']) tensorOf(g, `bn1.${suffix}`).fill(0.125)
      }
    }],
    ['other names of nodes and values', {
      edit: (g) => {
        const renamed = (name: string) => name === '' || name.startsWith('bn') || name === 'x' ? name : `other/${name}`
        for (const node of g.model.graph.node) {
          node.name = `node_${node.name}`
          node.input = node.input.map(renamed)
          node.output = node.output.map(renamed)
        }
        for (const value of [...g.model.graph.initializer, ...g.model.graph.output]) value.name = renamed(value.name)
      }
    }],
    ['an added Softmax', { end: (g, y) => g.node('Softmax', [y], { axis: { int: 1 } }) }],
    ['defaults that are written out', {
      edit: (g) => {
        const conv = nodeOf(g, 'Conv')
        conv.attribute = conv.attribute.filter(({ name }) => !['group', 'dilations', 'strides'].includes(name))
      }
    }],
    ['weights behind an Identity', {
      edit: (g) => {
        nodeOf(g, 'Conv').input[1] = 'behind'
        g.node('Identity', ['conv1.weight'], {}, ['behind'])
      }
    }],
    ['another name of the operator domain', { edit: (g) => { nodeOf(g, 'Conv').domain = 'ai.onnx' } }],
    ['padding that says that it is explicit', { edit: autoPad('NOTSET') }]
  ]
  for (const [title, variant] of same) test(title, () => assert.equal(fingerprint(variant), ORIGINAL))
})

describe('changes with', () => {
  const different: Array<[string, Variant]> = [
    ['one weight of a Conv', { edit: (g) => { tensorOf(g, 'conv2.weight')[5]! += 1e-3 } }],
    ['one weight of the linear layer', { edit: (g) => { tensorOf(g, 'fc.weight')[0]! += 1e-3 } }],
    ['a stride', { stride: 2 }],
    ['a stride along one axis', { edit: (g) => setAttribute(nodeOf(g, 'Conv'), 'strides', [1, 2]) }],
    ['a stride along the other axis', { edit: (g) => setAttribute(nodeOf(g, 'Conv'), 'strides', [2, 1]) }],
    ['padding', { edit: (g) => setAttribute(nodeOf(g, 'Conv'), 'pads', [0, 0, 1, 1]) }],
    ['padding on the other side', { edit: (g) => setAttribute(nodeOf(g, 'Conv'), 'pads', [1, 1, 0, 0]) }],
    ['dilation', { edit: (g) => setAttribute(nodeOf(g, 'Conv'), 'dilations', [2, 2]) }],
    ['automatic padding', { edit: autoPad('SAME_UPPER') }],
    ['other automatic padding', { edit: autoPad('SAME_LOWER') }],
    ['an epsilon', { epsilon: 1e-3 }],
    ['a channel count', { channels: 5 }],
    ['a layer key', { key: 'norm1' }],
    ['another batch norm', { end: (g, y) => g.batchNorm(y, 5) }],
    ['another transposition of the linear layer', {
      edit: (g) => {
        const gemm = nodeOf(g, 'Gemm')
        gemm.attribute = [makeAttribute('transB', { int: 0 })]
      }
    }]
  ]
  const seen = new Set([ORIGINAL])
  for (const [title, variant] of different) {
    test(title, () => {
      const changed = fingerprint(variant)
      assert.ok(!seen.has(changed), 'a fingerprint of its own')
      seen.add(changed)
    })
  }
})

test('a network with other weights has another one', () => {
  assert.notEqual(fingerprint({ seed: 2 }), ORIGINAL)
})

test('a graph with a cycle is refused', () => {
  assert.throws(() => fingerprint({
    edit: (g) => { nodeOf(g, 'Relu').input[0] = g.model.graph.output[0]!.name }
  }), hasCode('ONNX_CYCLIC'))
})
