/** What passes require and promise. Each is decided here by a way of its own, not by the pass's own code. */
import { elementCount } from '../base/dims.js'
import { nestedGraphs } from '../onnx/graph.js'
import { isOnnxDomain, type OnnxModel } from '../onnx/model.js'
import { DataType, isExternal } from '../onnx/tensor.js'
import { PAGE_BYTES } from './externalise-weights.js'
import { PORT_PREFIX } from './lower-batch-norms.js'
import { FLOAT_BYTES } from './plan.js'
import { RELATIVE_ERROR_MAX } from './prove.js'
import { makeSentinel } from './sentinels.js'
import type {
  AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto
} from '../onnx/generated/onnx_pb.js'
import type { Compilation, Preparation } from './compilation.js'
import type { Invariant } from './pass.js'

const isBatchNorm = ({ opType, domain }: NodeProto): boolean => opType === 'BatchNormalization' && isOnnxDomain(domain)

export const holdsItsData: Invariant<Preparation> = {
  name: 'no tensor lies in another file',
  holds: ({ model }) => {
    const isHere = (tensor: TensorProto | undefined): boolean => tensor === undefined || !isExternal(tensor)
    const areHere = (sparse: readonly SparseTensorProto[]): boolean => {
      return sparse.every(({ values, indices }) => isHere(values) && isHere(indices))
    }
    const hasItsOwn = ({ t, tensors, g, graphs, sparseTensor, sparseTensors }: AttributeProto): boolean => {
      return [t, ...tensors].every(isHere) && areHere(sparseTensor === undefined ? [] : [sparseTensor]) &&
        areHere(sparseTensors) && [g, ...graphs].every(isWhole)
    }
    const isWhole = (graph: GraphProto | undefined): boolean => {
      return graph === undefined || (graph.initializer.every(isHere) && areHere(graph.sparseInitializer) &&
        graph.node.every(({ attribute }) => attribute.every(hasItsOwn)))
    }
    return isWhole(model.graph) &&
      model.trainingInfo.every(({ initialization, algorithm }) => isWhole(initialization) && isWhole(algorithm)) &&
      model.functions.every(({ node, attributeProto }) => {
        return attributeProto.every(hasItsOwn) && node.every(({ attribute }) => attribute.every(hasItsOwn))
      })
  }
}

export const callsNoBatchNorm: Invariant<Preparation> = {
  name: 'no node calls a function with a batch norm',
  holds: ({ model }) => {
    const keyOf = (domain: string, name: string, overload: string) => `${domain}\n${name}\n${overload}`
    const holding = new Set<string>()
    const isHolding = (node: NodeProto): boolean => {
      return isBatchNorm(node) || holding.has(keyOf(node.domain, node.opType, node.overload)) ||
        nestedGraphs(node).some((nested) => nested.node.some(isHolding))
    }
    // As many times as calls can be nested: functions come in any order.
    for (let size = -1; size < holding.size;) {
      size = holding.size
      for (const { domain, name, overload, node } of model.functions) {
        if (node.some(isHolding)) holding.add(keyOf(domain, name, overload))
      }
    }
    return model.graph.node.every((node) => !holding.has(keyOf(node.domain, node.opType, node.overload)))
  }
}

export const computesInFloat32: Invariant<Preparation> = {
  name: 'float16 at the edge of the graph alone',
  holds: ({ model }) => {
    const outputs = new Set(model.graph.output.map(({ name }) => name))
    const makesHalf = (node: NodeProto) => node.attribute.some(({ name, i }) => {
      return (name === 'to' || name === 'dtype') && i === BigInt(DataType.FLOAT16)
    })
    return everyTensor(model, ({ dataType }) => dataType !== DataType.FLOAT16) &&
      everyNode(model, (node) => !makesHalf(node) || outputs.has(node.output[0]!))
  }
}

export const namesItsNumbers: Invariant<Preparation> = {
  name: 'constant numbers stand in initializers, not in nodes',
  holds: ({ model: { graph } }) => {
    const outputs = new Set(graph.output.map(({ name }) => name))
    const isNumber = (attribute: AttributeProto): boolean => {
      return /^value_(float|int)s?$/.test(attribute.name) ||
        (attribute.name === 'value' && attribute.t !== undefined && attribute.t.dataType !== DataType.STRING)
    }
    return graph.node.every(({ opType, domain, attribute, output }) => {
      return opType !== 'Constant' || !isOnnxDomain(domain) || outputs.has(output[0]!) || !attribute.some(isNumber)
    })
  }
}

export const hasItsReference: Invariant<Preparation> = {
  name: 'with a reference state, batch norms stand in the graph',
  holds: ({ model, source }) => source.origin !== 'reference-state' || model.graph.node.some(isBatchNorm)
}

export const isNormalised: Invariant<Preparation> = {
  name: 'when inserted, a batch norm stands behind every convolution with constant weights',
  holds: ({ model: { graph }, source }) => {
    if (source.origin !== 'inserted') return true
    const constants = new Set(graph.initializer.map(({ name }) => name))
    const normalised = new Set(graph.node.filter(isBatchNorm).map(({ input }) => input[0]))
    return graph.node.every(({ opType, domain, input, output }) => {
      const isConvolution = (opType === 'Conv' || opType === 'ConvTranspose') && isOnnxDomain(domain)
      return !isConvolution || !constants.has(input[1]!) || normalised.has(output[0])
    })
  }
}

export const isBoundBySlot: Invariant<Compilation> = {
  name: 'every batch norm is bound by node and slot',
  holds: ({ model, reading: { batchNorms: { sites, ownBank } } }) => {
    const unbound = new Set(model.graph.node.filter(isBatchNorm))
    return sites.length > 0 && sites.every(({ node, layer }) => {
      const own = ownBank.get(layer.key)
      return unbound.delete(node) && own !== undefined &&
        [own.gamma, own.beta, own.mean, own.variance].every(({ length }) => length === layer.channels)
    })
  }
}

export const isMeasured: Invariant<Compilation> = {
  name: 'the shape of what each batch norm works on is known',
  holds: ({ reading: { batchNorms: { sites } }, probe: { activations } }) => {
    return activations.length === sites.length && sites.every(({ layer: { channels } }, at) => {
      return (activations[at]![1] ?? 1) === channels
    })
  }
}

export const isPlanned: Invariant<Compilation> = {
  name: 'every batch norm has a form that it can take',
  holds: ({ reading: { convs }, probe: { activations }, lessons: { generic }, plan: { sites } }) => {
    return sites.length === convs.length && sites.every(({ kind }, at) => {
      if (kind === 'generic') return true
      return !generic.has(at) && (kind === 'fold' ? convs[at] !== undefined : activations[at]!.length === 4)
    })
  }
}

export const isSwitchable: Invariant<Compilation> = {
  name: 'no batch norm has statistics of its own',
  holds: ({ model: { graph } }) => {
    const inputs = new Set(graph.input.map(({ name }) => name))
    return graph.node.filter(isBatchNorm).every(({ input }) => inputs.has(input[1]!) && inputs.has(input[2]!))
  }
}

export const holdsEveryPort: Invariant<Compilation> = {
  name: 'every port stands in the graph, as an input or as sentinels',
  holds: ({ model: { graph }, ports }) => {
    const inputs = new Set(graph.input.map(({ name }) => name))
    const sentinels = graph.initializer.filter(({ name }) => name.startsWith(PORT_PREFIX))
    const found = new Map(sentinels.map(({ rawData }) => {
      return [Buffer.from(rawData.subarray(0, FLOAT_BYTES)).readFloatLE(), rawData.length]
    }))
    return ports.every(({ input, range, channel }) => {
      if (range === undefined) return inputs.has(input!)
      return found.get(makeSentinel({ ...range, length: 1 })[0]!) === channel.length * FLOAT_BYTES
    })
  }
}

export const givesTheSame: Invariant<Compilation> = {
  name: 'the outputs are those of the model',
  holds: ({ model: { graph }, probe: { outputs } }) => {
    return graph.output.map(({ name }) => name).join('\n') === outputs.map(({ name }) => name).join('\n')
  }
}

export const isFilled: Invariant<Compilation> = {
  name: 'every port lies in a slice of the bank, and every slice is an input',
  holds: ({ model: { graph }, ports, promoted: { layout, inputs } }) => {
    const known = new Set(graph.input.map(({ name }) => name))
    let end = 0
    for (const { name, offset, dims } of inputs) {
      if (!known.has(name) || offset < end) return false
      end = offset + elementCount(dims)
    }
    return end === layout.length && layout.ports.length >= ports.length && layout.ports.every(({ offset, channel }) => {
      return inputs.some((slice) => {
        return offset >= slice.offset && offset + channel.length <= slice.offset + elementCount(slice.dims)
      })
    })
  }
}

export const sharesItsWeights: Invariant<Compilation> = {
  name: 'large weights lie in the file that sessions share',
  holds: ({ model: { graph } }) => graph.initializer.every(({ rawData, floatData }) => {
    return rawData.length < PAGE_BYTES && floatData.length === 0
  })
}

export const isProven: Invariant<Compilation> = {
  name: 'the compiled graph computes what the model computes',
  holds: ({ proof }) => proof.maxRelativeError <= RELATIVE_ERROR_MAX
}

/** Whether all nodes are so, those of nested graphs and functions too. */
function everyNode (model: OnnxModel, isSo: (node: NodeProto) => boolean): boolean {
  const isSoThroughout = (node: NodeProto): boolean => {
    return isSo(node) && nestedGraphs(node).every((nested) => nested.node.every(isSoThroughout))
  }
  return model.graph.node.every(isSoThroughout) && model.functions.every(({ node }) => node.every(isSoThroughout))
}

/** Whether all tensors are so: initializers and attributes, of nested graphs and functions too. */
function everyTensor (model: OnnxModel, isSo: (tensor: TensorProto) => boolean): boolean {
  const hasSoInitializers = ({ initializer }: GraphProto) => initializer.every(isSo)
  return hasSoInitializers(model.graph) && everyNode(model, (node) => {
    return nestedGraphs(node).every(hasSoInitializers) &&
      node.attribute.every(({ t, tensors }) => (t === undefined ? tensors : [t]).every(isSo))
  })
}
