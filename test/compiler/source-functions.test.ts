import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { inlineFunctions } from '#src/compiler/source/inline-functions.js'
import {
  AttributeProtoSchema, FunctionProtoSchema, OperatorSetIdProtoSchema, type NodeProto
} from '#src/onnx/generated/onnx_pb.js'
import { parseModel, serializeModel, type OnnxModel } from '#src/onnx/model.js'
import { AttributeType, makeAttribute, makeNode } from '#src/onnx/node.js'
import { relativeError } from '#src/compiler/prove.js'
import { sampleFeeds } from '#src/compiler/sample-inputs.js'
import { openSession } from '#src/ort/session.js'
import { compileExactly } from '../support/compile.js'
import { hasCode } from '../support/errors.js'
import { end, picture } from '../support/exact.js'
import { GraphBuilder } from '../support/graph-builder.js'

const DOMAIN = 'blocks'

interface Body {
  name: string
  input: string[]
  output: string[]
  nodes: NodeProto[]
  attributes?: string[]
  opset?: number
}

/** A builder that knows functions; the domain of the functions is imported. */
function withFunctions (bodies: Body[]): GraphBuilder {
  const g = new GraphBuilder({ opset: 17 })
  g.model.opsetImport.push(create(OperatorSetIdProtoSchema, { domain: DOMAIN, version: 1n }))
  g.model.functions.push(...bodies.map(({ name, input, output, nodes, attributes = [], opset = 17 }) => {
    return create(FunctionProtoSchema, {
      name,
      domain: DOMAIN,
      input,
      output,
      node: nodes,
      attribute: attributes,
      opsetImport: [{ domain: '', version: BigInt(opset) }, { domain: DOMAIN, version: 1n }]
    })
  }))
  return g
}

const STATISTICS = ['gamma', 'beta', 'mean', 'variance']

/** conv -> batch norm with an epsilon of the call -> relu */
const CONV_BN: Body = {
  name: 'ConvBn',
  input: ['x', 'w', ...STATISTICS],
  output: ['y'],
  attributes: ['epsilon'],
  nodes: [
    makeNode('Conv', 'conv', ['x', 'w'], ['c'], { kernel_shape: { ints: [3, 3] }, pads: { ints: [1, 1, 1, 1] } }),
    (() => {
      const node = makeNode('BatchNormalization', 'bn', ['c', ...STATISTICS], ['b'])
      node.attribute.push(create(AttributeProtoSchema, {
        name: 'epsilon', refAttrName: 'epsilon', type: AttributeType.FLOAT
      }))
      return node
    })(),
    makeNode('Relu', 'relu', ['b'], ['y'])
  ]
}

function callConvBn (g: GraphBuilder, x: string, inputs: number, outputs: number, key: string, epsilon?: number): string {
  const weight = g.floats(`${key}.conv.weight`, [outputs, inputs, 3, 3], () => g.uniform() - 0.5)
  const parameters = ['weight', 'bias', 'running_mean', 'running_var'].map((suffix) => {
    return g.floats(`${key}.bn.${suffix}`, [outputs], () => 0.5 + g.uniform())
  })
  const made = g.fresh('called')
  const node = makeNode('ConvBn', key, [x, weight, ...parameters], [made], {}, DOMAIN)
  if (epsilon !== undefined) node.attribute.push(makeAttribute('epsilon', { float: epsilon }))
  g.push(node)
  return made
}

async function assertSame (original: Uint8Array, inlined: OnnxModel): Promise<void> {
  const a = await openSession(original, { optimization: 'disabled' })
  const b = await openSession(serializeModel(inlined), { optimization: 'disabled' })
  const feeds = sampleFeeds(a.inputs, { x: [1, 3, 9, 9] }, 2, 5)
  const [expected, actual] = [await a.run(feeds), await b.run(feeds)]
  for (const name of Object.keys(expected)) assert.equal(relativeError(actual[name]!, expected[name]!), 0, name)
  await a.release()
  await b.release()
}

describe('inlineFunctions', () => {
  test('each call gets nodes of its own, and attributes of the call or none', async (t) => {
    const g = withFunctions([CONV_BN])
    const x = callConvBn(g, picture(g, 3), 3, 8, 'block1', 0.5)
    end(g, callConvBn(g, x, 8, 5, 'block2'), 5)
    const bytes = g.bytes()
    const model = parseModel(bytes)
    assert.equal(inlineFunctions(model), true)
    assert.ok(model.graph.node.every(({ domain }) => domain === ''))
    await assertSame(bytes, model)
    const { layers } = await compileExactly(t, serializeModel(model), { foldBudget: 1 })
    assert.deepEqual(layers.map(({ key, epsilon }) => [key, epsilon]), [
      ['block1.bn', 0.5], ['block2.bn', Math.fround(1e-5)]
    ])
  })

  test('functions that call functions; those without batch norms stay', async () => {
    const outer: Body = {
      name: 'Outer',
      input: ['x', 'w', ...STATISTICS],
      output: ['out'],
      nodes: [
        makeNode('Twice', 'first', ['x'], ['c'], {}, DOMAIN),
        makeNode('ConvBn', 'second', ['c', 'w', ...STATISTICS], ['out'], { epsilon: { float: 0.01 } }, DOMAIN)
      ]
    }
    const twice: Body = { name: 'Twice', input: ['x'], output: ['y'], nodes: [makeNode('Add', '', ['x', 'x'], ['y'])] }
    const g = withFunctions([outer, twice, CONV_BN])
    callConvBn(g, picture(g, 3), 3, 4, 'only')
    const call = g.model.graph.node.at(-1)!
    call.opType = 'Outer'
    end(g, call.output[0]!, 4)
    const bytes = g.bytes()
    const model = parseModel(bytes)
    assert.equal(inlineFunctions(model), true)
    assert.deepEqual(model.graph.node.map(({ opType }) => opType), ['Twice', 'Conv', 'BatchNormalization', 'Relu'])
    await assertSame(bytes, model)
  })

  test('an input that is left out, and values that nested graphs read', async () => {
    const [then, otherwise] = [new GraphBuilder(), new GraphBuilder()]
    then.output(then.node('Add', ['normal', 'normal'], {}, ['chosen']), ['n', 4, 9, 9])
    otherwise.output(otherwise.node('Neg', ['normal'], {}, ['chosen']), ['n', 4, 9, 9])
    const g = withFunctions([])
    const body = new GraphBuilder()
    body.model.graph.node = []
    body.push(makeNode('Conv', 'conv', ['x', 'w', 'bias'], ['c'], { kernel_shape: { ints: [1, 1] } }))
    body.push(makeNode('BatchNormalization', 'bn', ['c', ...STATISTICS], ['normal']))
    body.push(makeNode('ReduceSum', 'sum', ['normal'], ['total'], { keepdims: { int: 0 } }))
    body.push(makeNode('Greater', 'greater', ['total', 'zero'], ['isLarge']))
    body.choose('isLarge', then, otherwise)
    const chosen = body.model.graph.node.at(-1)!
    chosen.output = ['y']
    g.model.functions.push(create(FunctionProtoSchema, {
      name: 'Choose',
      domain: DOMAIN,
      input: ['x', 'w', ...STATISTICS, 'zero', 'bias'],
      output: ['y'],
      node: body.model.graph.node,
      opsetImport: [{ domain: '', version: 17n }]
    }))
    const x = picture(g, 3)
    const parameters = [
      g.floats('w', [4, 3, 1, 1], () => g.uniform() - 0.5),
      ...STATISTICS.map((name) => g.floats(name, [4], () => 0.5 + g.uniform())), g.scalar(0)
    ]
    for (const name of ['a', 'b']) {
      g.push(makeNode('Choose', name, [x, ...parameters], [name], {}, DOMAIN))
      end(g, name, 4)
    }
    const bytes = g.bytes()
    const model = parseModel(bytes)
    assert.equal(inlineFunctions(model), true)
    await assertSame(bytes, model)
  })

  test('a model without such functions is left as it is', () => {
    const g = withFunctions([{ name: 'Twice', input: ['x'], output: ['y'], nodes: [makeNode('Add', '', ['x', 'x'], ['y'])] }])
    g.push(makeNode('Twice', '', [picture(g, 3)], ['y'], {}, DOMAIN))
    end(g, 'y', 3)
    const model = parseModel(g.bytes())
    assert.equal(inlineFunctions(model), false)
    assert.equal(model.graph.node[0]!.opType, 'Twice')
  })

  test('refuses functions for another operator set, and circles', () => {
    const other = withFunctions([{ ...CONV_BN, opset: 13 }])
    end(other, callConvBn(other, picture(other, 3), 3, 4, 'a'), 4)
    assert.throws(() => inlineFunctions(parseModel(other.bytes())), hasCode('ONNX_UNSUPPORTED'))
    const circle = withFunctions([
      { name: 'A', input: ['x'], output: ['y'], nodes: [makeNode('B', '', ['x'], ['y'], {}, DOMAIN)] },
      { name: 'B', input: ['x'], output: ['y'], nodes: [makeNode('A', '', ['x'], ['y'], {}, DOMAIN)] }
    ])
    circle.push(makeNode('A', '', [picture(circle, 3)], ['y'], {}, DOMAIN))
    assert.throws(() => inlineFunctions(parseModel(circle.bytes())), hasCode('ONNX_UNSUPPORTED'))
  })
})
