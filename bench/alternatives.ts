/** Two ways to switch without a compiler, which one would try first; the table measures against them. */
import { foldLayer } from '#src/bank/fold.js'
import { readBatchNorms } from '#src/compiler/read-batch-norms.js'
import { indexGraph, removeUnused } from '#src/onnx/graph.js'
import { parseModel, serializeModel } from '#src/onnx/model.js'
import { makeNode, makeValueInfo } from '#src/onnx/node.js'
import { DataType } from '#src/onnx/tensor.js'
import type { PlainTensor } from '#src/ort/session.js'

export interface Alternative {
  bytes: Uint8Array
  /** The bank, as further inputs. */
  feeds: Record<string, PlainTensor>
}

/** BatchNormalization nodes as they are, their four parameters graph inputs. */
export function parametersAsInputs (bytes: Uint8Array): Alternative {
  const model = parseModel(bytes)
  const { sites, ownBank } = readBatchNorms(indexGraph(model.graph))
  const feeds: Alternative['feeds'] = {}
  for (const [at, { node, layer }] of sites.entries()) {
    const { gamma, beta, mean, variance } = ownBank.get(layer.key)!
    for (const [slot, data] of [gamma, beta, mean, variance].entries()) {
      const name = `bank.${at}.${slot}`
      node.input[slot + 1] = name
      model.graph.input.push(makeValueInfo(name, DataType.FLOAT, [layer.channels]))
      feeds[name] = { type: 'float32', dims: [layer.channels], data }
    }
  }
  removeUnused(model.graph)
  return { bytes: serializeModel(model), feeds }
}

/** Every batch norm a Mul and an Add with folded scale and shift as graph inputs. */
export function mulAndAdd (bytes: Uint8Array): Alternative {
  const model = parseModel(bytes)
  const { sites, ownBank } = readBatchNorms(indexGraph(model.graph))
  const feeds: Alternative['feeds'] = {}
  const replaced = new Map(sites.map(({ node, layer, input, output }, at) => {
    const pair = foldLayer(layer, ownBank.get(layer.key)!)
    const dims = [1, layer.channels, 1, 1]
    const [scale, shift] = (['scale', 'shift'] as const).map((role) => {
      const name = `bank.${at}.${role}`
      model.graph.input.push(makeValueInfo(name, DataType.FLOAT, dims))
      feeds[name] = { type: 'float32', dims, data: Float32Array.from(pair[role]) }
      return name
    })
    const scaled = `bank.${at}.scaled`
    return [node, [
      makeNode('Mul', `${scaled}.mul`, [input, scale!], [scaled]), makeNode('Add', `${scaled}.add`, [scaled, shift!], [output])
    ]] as const
  }))
  model.graph.node = model.graph.node.flatMap((node) => replaced.get(node) ?? [node])
  removeUnused(model.graph)
  return { bytes: serializeModel(model), feeds }
}
