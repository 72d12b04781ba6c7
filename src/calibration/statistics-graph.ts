/**
 * The statistics graph: the original model cut into segments that also give, per image and channel, the moments of
 * every batch norm's input. It is derived from the model on demand, in milliseconds, and kept nowhere.
 *
 * A layer's level is the number of adapted layers that its input depends on in a row, itself included. What stands
 * between two levels is a segment; the values that cross a border are its frontier. Running the segments one after
 * another, each with the layers behind it settled, gives every layer its statistics for the price of one forward run,
 * provided the frontier of all images is kept; without it, a segment may begin at any earlier border instead.
 *
 * Cases:
 *  1. settled layer: BatchNormalization with the given bank's statistics as constants, which the runtime may fold
 *  2. layer in batch mode: normalised with the statistics of the batch itself, as in training
 *  3. observed layer: two further outputs for its input x, seen as [images, channels, positions]:
 *     mean = average over positions, in two steps (average, then the average of what is left), and
 *     variance = average of squares around it; float32 stays exact where |mean| is 10,000 standard deviations
 *  4. a layer with several sites on one level is observed at each; on several levels it has no level of its own, and
 *     only batch mode can observe it (COMPILE_LAYER_REUSED)
 *  5. nodes that depend on no input of the graph belong to every segment
 */
import assert from 'node:assert'
import { indexGraph, topologicalOrder, valuesReadBy, type GraphIndex } from '../onnx/graph.js'
import { parseModel, serializeModel, type OnnxModel } from '../onnx/model.js'
import { makeValueInfo } from '../onnx/node.js'
import { DataType } from '../onnx/tensor.js'
import { fingerprintOf } from '../compiler/fingerprint.js'
import { readBatchNorms, type BatchNorms, type BatchNormSite } from '../compiler/read-batch-norms.js'
import { writeBankInto } from '../compiler/with-bank.js'
import { calibrationErrors } from './errors.js'
import { Observers, type ObservedSite } from '../compiler/observers.js'
import type { Bank } from '../bank/bank.js'
import type { TensorType } from '../ort/session.js'
import type { NodeProto } from '../onnx/generated/onnx_pb.js'

export interface BoundaryValue {
  readonly type: TensorType
  readonly rank: number
}

export interface SegmentRequest {
  /** The border it begins at: what stands before it has run. Undefined to begin at the model's inputs. */
  from?: number
  /** The border it ends at, where the layers of level `to + 1` are observed. */
  to: number
  /** Type and rank of what crosses `from`. */
  boundary?: ReadonlyMap<string, BoundaryValue>
  /** Statistics of every settled layer. */
  bank: Bank
  /** Whether what crosses `to` is wanted too. */
  givesFrontier: boolean
}

export interface Segment {
  readonly bytes: Uint8Array
  readonly observed: readonly ObservedSite[]
  readonly frontier: readonly string[]
}

/** Level of what depends on no input. */
const CONSTANT = -1

const ELEMENT_TYPE: Partial<Record<TensorType, number>> = {
  float32: DataType.FLOAT,
  float64: DataType.DOUBLE,
  int64: DataType.INT64,
  int32: DataType.INT32,
  uint8: DataType.UINT8,
  bool: DataType.BOOL
}

export class StatisticsGraph {
  readonly ownBank: Bank
  readonly #bytes: Uint8Array
  readonly #adapted: ReadonlySet<string>

  /**
   * `bytes` must stay as they are; `adapted` names the layers whose statistics are wanted. Throws what reading the
   * model throws.
   */
  constructor (bytes: Uint8Array, adapted: ReadonlySet<string>) {
    this.#bytes = bytes
    this.#adapted = adapted
    this.ownBank = this.#parse().batchNorms.ownBank
  }

  /** Of the network, hashed anew at every call: all of its weights. */
  get fingerprint (): string {
    const { index, batchNorms } = this.#parse()
    return fingerprintOf(index, batchNorms)
  }

  /** Layers by level, from 1 on. Throws COMPILE_LAYER_REUSED for an adapted layer with sites on several levels. */
  get levels (): string[][] {
    const { index, batchNorms } = this.#parse()
    const { levelOfSite } = this.#levels(index, batchNorms)
    const levelOf = new Map<string, number>()
    for (const site of this.#adaptedSites(batchNorms)) {
      const { key } = site.layer
      const level = levelOfSite.get(site)!
      if ((levelOf.get(key) ?? level) !== level) {
        throw calibrationErrors.COMPILE_LAYER_REUSED(
          `layer "${key}" is used at several depths of the network, so its statistics depend on themselves; calibrate in ` +
          'mode fvcore, which pools them', { layer: key, expected: levelOf.get(key), received: level }
        )
      }
      levelOf.set(key, level)
    }
    const levels: string[][] = []
    for (const [key, level] of levelOf) (levels[level - 1] ??= []).push(key)
    return levels
  }

  /** The segment from one border to another, under the given bank. */
  segment ({ from, to, boundary, bank, givesFrontier }: SegmentRequest): Segment {
    const { model, index, batchNorms } = this.#parse()
    const { levelOfNode, levelOfSite, levelOfValue } = this.#levels(index, batchNorms)
    writeBankInto(model, batchNorms.sites, bank)
    const sites = this.#adaptedSites(batchNorms).filter((site) => levelOfSite.get(site) === to + 1)
    const frontier = frontierOf(index, levelOfNode, levelOfValue, to)
    const { graph } = model
    const observers = new Observers(model)
    const observed = sites.map((site) => observers.observe(site))
    if (from !== undefined) {
      assert(boundary !== undefined, 'a segment behind a border needs to know what crosses it')
      graph.input = frontierOf(index, levelOfNode, levelOfValue, from).map((name) => {
        const { type, rank } = boundary.get(name)!
        const elementType = ELEMENT_TYPE[type]
        assert(elementType !== undefined, `${type} crosses a border`)
        return makeValueInfo(name, elementType, Array<null>(rank).fill(null))
      })
    }
    graph.node = graph.node.filter((node) => {
      const level = levelOfNode.get(node)!
      return level === CONSTANT || (level <= to && (from === undefined || level > from))
    })
    const wanted = givesFrontier ? frontier : []
    return { bytes: observers.finish(wanted), observed, frontier: wanted }
  }

  /**
   * The whole network with every adapted layer observed, and normalised with the batch's own statistics when `mode` is
   * `batch`, else with the bank's. Layers that are not adapted have the bank's statistics.
   */
  whole (mode: 'batch' | 'bank', bank: Bank): Segment {
    const { model, batchNorms } = this.#parse()
    writeBankInto(model, batchNorms.sites, bank)
    const observers = new Observers(model)
    const observed = this.#adaptedSites(batchNorms).map((site) => {
      const outputs = observers.observe(site)
      if (mode === 'batch') observers.normaliseByBatch(site, outputs)
      return outputs
    })
    return { bytes: observers.finish([]), observed, frontier: [] }
  }

  /** The plain network under a bank, with its own outputs. */
  plain (bank: Bank): Uint8Array {
    const { model, batchNorms } = this.#parse()
    writeBankInto(model, batchNorms.sites, bank)
    return serializeModel(model)
  }

  #parse (): { model: OnnxModel, index: GraphIndex, batchNorms: BatchNorms } {
    const model = parseModel(this.#bytes)
    const { graph } = model
    // Overridable defaults become constants, as in the compiled graph.
    const defaults = new Set(graph.initializer.map(({ name }) => name))
    graph.input = graph.input.filter(({ name }) => !defaults.has(name))
    const index = indexGraph(graph)
    return { model, index, batchNorms: readBatchNorms(index, model.functions) }
  }

  #adaptedSites ({ sites }: BatchNorms): BatchNormSite[] {
    return sites.filter(({ layer }) => this.#adapted.has(layer.key))
  }

  #levels (index: GraphIndex, batchNorms: BatchNorms) {
    const siteOf = new Map(this.#adaptedSites(batchNorms).map((site) => [site.node, site]))
    const levelOfValue = new Map(index.graph.input.map(({ name }) => [name, 0]))
    const levelOfNode = new Map<NodeProto, number>()
    const levelOfSite = new Map<BatchNormSite, number>()
    for (const node of topologicalOrder(index)) {
      const below = [...valuesReadBy(node)].reduce((most, value) => {
        return Math.max(most, levelOfValue.get(value) ?? CONSTANT)
      }, CONSTANT)
      const site = siteOf.get(node)
      const level = site === undefined ? below : Math.max(below, 0) + 1
      if (site !== undefined) levelOfSite.set(site, level)
      levelOfNode.set(node, level)
      for (const output of node.output) levelOfValue.set(output, level)
    }
    return { levelOfNode, levelOfSite, levelOfValue }
  }
}

/** Values made before the border, or fed, that are read behind it; in the graph's order. */
function frontierOf (
  index: GraphIndex, levelOfNode: ReadonlyMap<NodeProto, number>, levelOfValue: ReadonlyMap<string, number>,
  border: number
): string[] {
  const crossing = new Set<string>()
  for (const node of index.graph.node) {
    if (levelOfNode.get(node)! <= border) continue
    for (const value of valuesReadBy(node)) {
      const level = levelOfValue.get(value) ?? CONSTANT
      if (level > CONSTANT && level <= border) crossing.add(value)
    }
  }
  return [...crossing]
}
