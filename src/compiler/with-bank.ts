/** The plain model with other statistics: what a compiled graph is proven against, and what a hot domain runs. */
import { createNamer, indexGraph } from '../onnx/graph.js'
import { parseModel, type OnnxModel } from '../onnx/model.js'
import { float32Tensor } from '../onnx/tensor.js'
import type { Bank } from '../bank/bank.js'
import { readBatchNorms, type BatchNormSite } from './read-batch-norms.js'

/**
 * Gives every site new initializers with the bank's statistics. Edits `model`, whose nodes the sites must refer to, in
 * place; shared initializers are left alone, because other nodes may read them.
 */
export function writeBankInto (model: OnnxModel, sites: readonly BatchNormSite[], bank: Bank): void {
  const fresh = createNamer(model.graph)
  for (const { node, layer } of sites) {
    const { gamma, beta, mean, variance } = bank.get(layer.key)!
    for (const [at, values] of [gamma, beta, mean, variance].entries()) {
      const name = fresh(`${layer.key}.${at}`)
      model.graph.initializer.push(float32Tensor(name, [layer.channels], values))
      node.input[at + 1] = name
    }
  }
}

/** A new copy of a prepared model, whose batch norms hold the bank's statistics. Throws what reading them throws. */
export function withBank (prepared: Uint8Array, bank: Bank): OnnxModel {
  const model = parseModel(prepared)
  writeBankInto(model, readBatchNorms(indexGraph(model.graph)).sites, bank)
  return model
}
