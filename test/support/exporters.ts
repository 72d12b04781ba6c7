/**
 * One small network in the shapes that exporters give to it: the same function every time, other names and other nodes.
 *
 * What each does was read off files of torch 1.13 and 2.13, Paddle2ONNX, tf2onnx and Caffe2's models.
 */
import { create } from '@bufbuild/protobuf'
import { StringStringEntryProtoSchema, type NodeProto } from '#src/onnx/generated/onnx_pb.js'
import { renameValues } from '#src/onnx/graph.js'
import { makeNode, makeValueInfo } from '#src/onnx/node.js'
import { DataType } from '#src/onnx/tensor.js'
import { GraphBuilder, type ConvOptions } from './graph-builder.js'

export const SIZE = 16
const CLASSES = 5
const BLOCKS = ['stem', 'block.0', 'block.1', 'last']

/** Convolution, depthwise, linear bottleneck with a sum, convolution, head: 4 batch norms, 3 ReLU6. */
export function clean (builder: { opset?: number, irVersion?: number } = {}): GraphBuilder {
  const g = new GraphBuilder(builder)
  const block = (x: string, name: string, shape: ConvOptions): string => {
    return g.batchNorm(g.conv(x, { ...shape, name: `${name}.conv` }), shape.outputs, `${name}.bn`)
  }
  let x = g.input('x', ['n', 3, SIZE, SIZE])
  x = g.relu6(block(x, 'stem', { inputs: 3, outputs: 8, kernel: 3, stride: 2 }))
  const y = g.relu6(block(x, 'block.0', { inputs: 8, outputs: 8, kernel: 3, group: 8 }))
  x = g.add(x, block(y, 'block.1', { inputs: 8, outputs: 8 }))
  x = g.relu6(block(x, 'last', { inputs: 8, outputs: 16 }))
  g.output(g.head(x, 16, CLASSES), ['n', CLASSES])
  return g
}

interface Exported {
  g: GraphBuilder
  /** Keys that its batch norms go by. */
  keys: string[]
  /** Axes of its input in terms of the clean network's. */
  layout?: 'NHWC'
}

export const EXPORTERS: Readonly<Record<string, () => Exported>> = {
  'torch, TorchScript exporter': torchScript,
  'torch, dynamo exporter': dynamo,
  'Paddle, weights as Constant nodes': paddle,
  'TensorFlow, NHWC between transposes': () => tensorFlow((block, parameter) => `net/${block}/bn/${parameter}/ReadVariableOp:0`),
  'Keras, names with colons': () => tensorFlow((block, parameter) => `${block}_bn/${KERAS[parameter]}:0`),
  'Caffe2, operator set 9': caffe2
}

const PARAMETERS = ['weight', 'bias', 'running_mean', 'running_var'] as const
type Parameter = typeof PARAMETERS[number]

const KERAS: Record<Parameter, string> = {
  weight: 'gamma', bias: 'beta', running_mean: 'moving_mean', running_var: 'moving_variance'
}

/** Bounds and shapes from Constant nodes, equal parameters behind Identity, module paths as names of nodes. */
function torchScript (): Exported {
  const g = clean({ opset: 13 })
  nodesInPlaceOf(g, (name) => name.startsWith('scalar'))
  const { graph } = g.model
  for (const node of graph.node.filter(({ opType }) => opType === 'BatchNormalization')) {
    const key = node.input[1]!.slice(0, -'.weight'.length)
    node.name = `/${key.replaceAll('.', '/')}/BatchNormalization`
    before(g, node, () => { node.input[3] = g.node('Identity', [node.input[3]!]) })
  }
  computeTail(g, (shape) => g.node('Unsqueeze', [
    g.node('Gather', [shape, constant(g, { value_int: { int: 0 } })], { axis: { int: 0 } }), constant(g, { value_ints: { ints: [0] } })
  ]))
  return { g, keys: keysOf('.') }
}

/** A computed bias of every convolution, computed bounds, module paths as metadata. */
function dynamo (): Exported {
  const g = clean({ opset: 20, irVersion: 10 })
  const one = () => constant(g, { value_ints: { ints: [1] } })
  for (const node of [...g.model.graph.node]) {
    if (node.opType === 'Conv') {
      before(g, node, () => {
        const length = g.node('Expand', [g.node('Shape', [node.input[1]!], { start: { int: 0 }, end: { int: 1 } }), one()])
        const zero = g.node('CastLike', [constant(g, { value_float: { float: 0 } }), node.input[0]!])
        node.input.push(g.node('Expand', [zero, length]))
      })
    } else if (node.opType === 'Clip') {
      before(g, node, () => {
        const bounds = [0, 6].map((float) => g.node('CastLike', [constant(g, { value_float: { float } }), node.input[0]!]))
        node.input = [node.input[0]!, ...bounds]
      })
    } else if (node.opType === 'BatchNormalization') {
      const key = node.input[1]!.slice(0, -'.weight'.length)
      node.metadataProps.push(create(StringStringEntryProtoSchema, {
        key: 'pkg.torch.onnx.name_scopes', value: `['', '${key}', '${node.name}']`
      }))
    }
  }
  computeTail(g, (shape) => g.node('Reshape', [
    g.node('Squeeze', [g.node('Slice', [shape, g.ints('from', [0]), g.ints('to', [1])])]), constant(g, { value_ints: { ints: [-1] } })
  ]))
  return { g, keys: keysOf('.') }
}

function paddle (): Exported {
  const g = clean({ opset: 11 })
  const suffixes: Record<Parameter, string> = { weight: 'w_0', bias: 'b_0', running_mean: 'w_1', running_var: 'w_2' }
  renameParameters(g, (block, parameter) => `batch_norm2d_${BLOCKS.indexOf(block)}.${suffixes[parameter]}`)
  nodesInPlaceOf(g, () => true)
  return { g, keys: nodeNames(g) }
}

function tensorFlow (nameOf: (block: string, parameter: Parameter) => string): Exported {
  const g = clean({ opset: 15 })
  renameParameters(g, nameOf)
  const { graph } = g.model
  const inner = g.fresh('nchw')
  for (const node of graph.node) renameValues(node, (value) => value === 'x' ? inner : value)
  graph.node.unshift(makeNode('Transpose', 'to_nchw', ['x'], [inner], { perm: { ints: [0, 3, 1, 2] } }))
  graph.input = [makeValueInfo('x', DataType.FLOAT, ['n', SIZE, SIZE, 3])]
  return { g, keys: nodeNames(g), layout: 'NHWC' }
}

/** Attributes instead of inputs, and every initializer listed as an input. */
function caffe2 (): Exported {
  const g = clean({ opset: 9, irVersion: 3 })
  const suffixes: Record<Parameter, string> = { weight: 's', bias: 'b', running_mean: 'rm', running_var: 'riv' }
  renameParameters(g, (block, parameter) => `${block}_bn_${suffixes[parameter]}`)
  g.listInitializersAsInputs()
  return { g, keys: nodeNames(g) }
}

function keysOf (separator: string): string[] {
  return BLOCKS.map((block) => `${block}${separator}bn`)
}

function nodeNames ({ model: { graph } }: GraphBuilder): string[] {
  return graph.node.filter(({ opType }) => opType === 'BatchNormalization').map(({ name }) => name)
}

type ConstantAttributes = Parameters<typeof makeNode>[4]

function constant (g: GraphBuilder, attributes: NonNullable<ConstantAttributes>): string {
  return g.node('Constant', [], attributes)
}

/** What `make` adds stands before `node`, as the order of a graph demands. */
function before (g: GraphBuilder, node: NodeProto, make: () => void): void {
  const { graph } = g.model
  const rest = graph.node.splice(graph.node.indexOf(node))
  make()
  graph.node.push(...rest)
}

/** Initializers become Constant nodes. */
function nodesInPlaceOf (g: GraphBuilder, isOne: (name: string) => boolean): void {
  const { graph } = g.model
  const chosen = graph.initializer.filter(({ name }) => isOne(name))
  graph.initializer = graph.initializer.filter(({ name }) => !isOne(name))
  const rest = graph.node.splice(0)
  for (const tensor of chosen) g.node('Constant', [], { value: { tensor } }, [tensor.name])
  graph.node.push(...rest)
}

function renameParameters (g: GraphBuilder, nameOf: (block: string, parameter: Parameter) => string): void {
  const names = new Map(BLOCKS.flatMap((block) => {
    return PARAMETERS.map((parameter): [string, string] => [`${block}.bn.${parameter}`, nameOf(block, parameter)])
  }))
  for (const tensor of g.model.graph.initializer) tensor.name = names.get(tensor.name) ?? tensor.name
  for (const node of g.model.graph.node) renameValues(node, (value) => names.get(value) ?? value)
}

/** Flatten becomes a Reshape to sizes that are computed from the batch, which `sizeOf` takes out of a shape. */
function computeTail (g: GraphBuilder, sizeOf: (shape: string) => string): void {
  const flatten = g.model.graph.node.find(({ opType }) => opType === 'Flatten')!
  before(g, flatten, () => {
    const sizes = g.node('Concat', [sizeOf(g.node('Shape', ['x'])), constant(g, { value_ints: { ints: [16] } })], { axis: { int: 0 } })
    flatten.opType = 'Reshape'
    flatten.input.push(sizes)
  })
}
