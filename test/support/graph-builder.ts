/** ONNX graphs in code: one method an operator, seeded weights, PyTorch-style parameter names. */
import { create } from '@bufbuild/protobuf'
import {
  AttributeProtoSchema, ModelProtoSchema, type GraphProto, type NodeProto, type TensorProto
} from '#src/onnx/generated/onnx_pb.js'
import { serializeModel, type OnnxModel } from '#src/onnx/model.js'
import { AttributeType, makeNode, makeValueInfo, type AttributeValue } from '#src/onnx/node.js'
import { DataType, float32Tensor, int64Tensor } from '#src/onnx/tensor.js'
import { seededUniform } from './random.js'

export interface ConvOptions {
  inputs: number
  outputs: number
  kernel?: number
  stride?: number
  group?: number
  dilation?: number
  bias?: boolean
  /** Spatial axes: 2 unless said otherwise. */
  rank?: number
  name?: string
}

type Dims = ReadonlyArray<number | string>

/** From this operator set on Clip takes its bounds as inputs. */
const CLIP_BOUNDS_AS_INPUTS_OPSET = 11

export class GraphBuilder {
  readonly model: OnnxModel
  readonly uniform: () => number
  readonly opset: number
  #count = 0

  constructor ({ opset = 17, seed = 1, irVersion = 8 } = {}) {
    this.uniform = seededUniform(seed)
    this.opset = opset
    this.model = create(ModelProtoSchema, {
      irVersion: BigInt(irVersion),
      producerName: 'graph-builder',
      opsetImport: [{ domain: '', version: BigInt(opset) }],
      graph: { name: 'graph' }
    }) as OnnxModel
  }

  /** The serialised model. */
  bytes (): Uint8Array {
    return serializeModel(this.model)
  }

  fresh (prefix = 'v'): string {
    return `${prefix}${this.#count++}`
  }

  input (name: string, dims: Dims, elemType: number = DataType.FLOAT): string {
    this.model.graph.input.push(makeValueInfo(name, elemType, [...dims]))
    return name
  }

  output (name: string, dims: Dims, elemType: number = DataType.FLOAT): this {
    this.model.graph.output.push(makeValueInfo(name, elemType, [...dims]))
    return this
  }

  /** Lists every initializer as a graph input too, as old exporters do (and IR versions below 4 demand). */
  listInitializersAsInputs (): this {
    const { initializer, input } = this.model.graph
    input.push(...initializer.map(({ name, dataType, dims }) => makeValueInfo(name, dataType, dims.map(Number))))
    return this
  }

  node (
    opType: string, inputs: readonly string[], attributes: Record<string, AttributeValue> = {}, outputs?: string[]
  ): string {
    const made = outputs ?? [this.fresh(opType.toLowerCase())]
    this.push(makeNode(opType, `${opType}_${made[0]}`, inputs, made, attributes))
    return made[0]!
  }

  push (node: NodeProto): void {
    this.model.graph.node.push(node)
  }

  tensor (tensor: TensorProto): string {
    this.model.graph.initializer.push(tensor)
    return tensor.name
  }

  floats (name: string, dims: readonly number[], value: (index: number) => number): string {
    const length = dims.reduce((product, size) => product * size, 1)
    return this.tensor(float32Tensor(name, dims, Float32Array.from({ length }, (_, index) => value(index))))
  }

  ints (name: string, values: readonly number[]): string {
    return this.tensor(int64Tensor(name, [values.length], values))
  }

  scalar (value: number): string {
    return this.floats(this.fresh('scalar'), [], () => value)
  }

  /** He-initialised weights, padding that keeps the size at stride 1. */
  conv (x: string, options: ConvOptions): string {
    const { inputs, outputs, kernel = 1, stride = 1, group = 1, dilation = 1, bias = false, rank = 2 } = options
    const name = options.name ?? this.fresh('conv')
    const spatial = Array<number>(rank).fill(kernel)
    const fanIn = (inputs / group) * kernel ** rank
    const bound = Math.sqrt(6 / fanIn)
    const dims = [outputs, inputs / group, ...spatial]
    const weight = this.floats(`${name}.weight`, dims, () => bound * (2 * this.uniform() - 1))
    const pad = Math.floor(dilation * (kernel - 1) / 2)
    const parameters = bias ? [this.floats(`${name}.bias`, [outputs], () => this.uniform() - 0.5)] : []
    return this.node('Conv', [x, weight, ...parameters], {
      kernel_shape: { ints: spatial },
      strides: { ints: Array(rank).fill(stride) },
      dilations: { ints: Array(rank).fill(dilation) },
      pads: { ints: Array(2 * rank).fill(pad) },
      group: { int: group }
    })
  }

  /** Random statistics: mean around 0, variance around 1, gamma around 1, beta around 0. */
  batchNorm (x: string, channels: number, name = this.fresh('bn'), epsilon = 1e-5): string {
    const vector = (suffix: string, value: () => number) => this.floats(`${name}.${suffix}`, [channels], value)
    return this.node('BatchNormalization', [
      x,
      vector('weight', () => 0.5 + this.uniform()),
      vector('bias', () => this.uniform() - 0.5),
      vector('running_mean', () => this.uniform() - 0.5),
      vector('running_var', () => 0.5 + this.uniform())
    ], { epsilon: { float: epsilon } })
  }

  relu (x: string): string {
    return this.node('Relu', [x])
  }

  relu6 (x: string): string {
    return this.opset < CLIP_BOUNDS_AS_INPUTS_OPSET
      ? this.node('Clip', [x], { min: { float: 0 }, max: { float: 6 } })
      : this.node('Clip', [x, this.scalar(0), this.scalar(6)])
  }

  /** A node with a text attribute, which `makeNode` has no form for. */
  nodeWithText (opType: string, inputs: readonly string[], name: string, text: string): string {
    const made = this.node(opType, inputs)
    this.model.graph.node.at(-1)!.attribute.push(
      create(AttributeProtoSchema, { name, type: AttributeType.STRING, s: Buffer.from(text) })
    )
    return made
  }

  /** An If whose bodies are the graphs of two other builders; a body has outputs and no inputs. */
  choose (condition: string, then: GraphBuilder, otherwise: GraphBuilder): string {
    const made = this.node('If', [condition])
    const body = (name: string, { graph }: { graph: GraphProto }) => {
      return create(AttributeProtoSchema, { name, type: AttributeType.GRAPH, g: graph })
    }
    this.model.graph.node.at(-1)!.attribute.push(
      body('then_branch', then.model), body('else_branch', otherwise.model)
    )
    return made
  }

  add (a: string, b: string): string {
    return this.node('Add', [a, b])
  }

  maxPool (x: string, kernel: number, stride: number): string {
    const pad = Math.floor(kernel / 2)
    return this.node('MaxPool', [x], {
      kernel_shape: { ints: [kernel, kernel] },
      strides: { ints: [stride, stride] },
      pads: { ints: [pad, pad, pad, pad] }
    })
  }

  averagePool (x: string, kernel: number, stride: number): string {
    return this.node('AveragePool', [x], {
      kernel_shape: { ints: [kernel, kernel] }, strides: { ints: [stride, stride] }
    })
  }

  /** Global average pool, flatten, linear layer: the usual head. */
  head (x: string, channels: number, classes: number): string {
    const pooled = this.node('Flatten', [this.node('GlobalAveragePool', [x])])
    return this.linear(pooled, channels, classes, 'fc')
  }

  linear (x: string, inputs: number, outputs: number, name = this.fresh('linear')): string {
    const bound = 1 / Math.sqrt(inputs)
    const weight = this.floats(`${name}.weight`, [outputs, inputs], () => bound * (2 * this.uniform() - 1))
    const bias = this.floats(`${name}.bias`, [outputs], () => bound * (2 * this.uniform() - 1))
    return this.node('Gemm', [x, weight, bias], { transB: { int: 1 } })
  }
}
