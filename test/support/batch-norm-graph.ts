/** Graphs of batch norms over one small input, and what the compiler reads in them. */
import { readBatchNorms, type BatchNorms } from '#src/compiler/read-batch-norms.js'
import { indexGraph } from '#src/onnx/graph.js'
import type { NodeProto } from '#src/onnx/generated/onnx_pb.js'
import { GraphBuilder } from './graph-builder.js'

/** Channels of all values. */
export const CHANNELS = 4

export function start (): { g: GraphBuilder, x: string } {
  const g = new GraphBuilder()
  return { g, x: g.input('x', ['n', CHANNELS, 5, 5]) }
}

export function read (g: GraphBuilder): BatchNorms {
  return readBatchNorms(indexGraph(g.model.graph))
}

export function finish (g: GraphBuilder, ...values: string[]): BatchNorms {
  for (const value of values) g.output(value, ['n', CHANNELS, 5, 5])
  return read(g)
}

export const lastNode = (g: GraphBuilder): NodeProto => g.model.graph.node.at(-1)!

/** A batch norm over four given values. */
export function batchNormOf (g: GraphBuilder, x: string, parameters: string[], epsilon = 1e-5): string {
  return g.node('BatchNormalization', [x, ...parameters], { epsilon: { float: epsilon } })
}

export const parametersOf = (name: string): string[] => {
  return ['weight', 'bias', 'running_mean', 'running_var'].map((suffix) => `${name}.${suffix}`)
}

export const vector = (g: GraphBuilder, name: string, ...values: number[]): string => {
  return g.floats(name, [values.length], (at) => values[at]!)
}

export const keysOf = ({ layers }: BatchNorms): string[] => layers.map(({ key }) => key)
export const siteKeys = ({ sites }: BatchNorms): string[] => sites.map(({ layer }) => layer.key)
