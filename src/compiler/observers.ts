/**
 * Nodes that give, per image and channel, the moments of a batch norm's input: for calibration (statistics-graph.ts,
 * cases 2 and 3) and for the stem (stem.ts).
 */
import { createNamer, indexGraph, removeUnused, topologicalOrder } from '../onnx/graph.js'
import { opsetOf, serializeModel, type OnnxModel } from '../onnx/model.js'
import { makeNode, makeValueInfo, type AttributeValue } from '../onnx/node.js'
import { DataType, float32Tensor, int64Tensor } from '../onnx/tensor.js'
import { MOMENTS } from '../signature/features.js'
import type { NodeProto } from '../onnx/generated/onnx_pb.js'
import type { BatchNormSite } from './read-batch-norms.js'

/** From this operator set on ReduceMean takes its axes as an input. */
const REDUCE_AXES_AS_INPUT_OPSET = 18

/** The outputs that observe one site: float32 [images, channels]. */
export interface ObservedSite {
  readonly layerKey: string
  /** Average over positions. */
  readonly mean: string
  /** Average over positions of what `mean` left, which rounding kept from it: the true mean is the sum of both. */
  readonly residual: string
  /** Average over positions of squares around `mean`. */
  readonly squares: string
  /** int64 scalar: elements of the input; divided by images and channels, the positions. */
  readonly size: string
}

/** Adds observing nodes to a model and gives it the outputs they make. */
export class Observers {
  readonly #model: OnnxModel
  readonly #fresh: (wish: string) => string
  readonly #nodes: NodeProto[] = []
  readonly #outputs: string[] = []
  readonly #takesAxes: boolean
  readonly #constants = new Map<string, string>()

  constructor (model: OnnxModel) {
    this.#model = model
    this.#fresh = createNamer(model.graph)
    this.#takesAxes = opsetOf(model) >= REDUCE_AXES_AS_INPUT_OPSET
  }

  observe ({ layer: { key }, input }: BatchNormSite): ObservedSite {
    const positions = this.#node('Reshape', [input, this.#ints('perChannel', [0, 0, -1])])
    const mean = this.#average(positions, [2], true)
    const centred = this.#node('Sub', [positions, mean])
    const observed = {
      layerKey: key,
      mean: this.#node('Reshape', [mean, this.#ints('squeezed', [0, -1])]),
      residual: this.#average(centred, [2], false),
      squares: this.#average(this.#node('Mul', [centred, centred]), [2], false),
      size: this.#node('Size', [input])
    }
    this.#outputs.push(observed.mean, observed.residual, observed.squares, observed.size)
    return observed
  }

  /**
   * Gives the site the population statistics of the batch: the average of the images' means m, and the average of
   * their variances v plus the spread of their means, v + (m - average)^2, which is exact for images of one size.
   */
  normaliseByBatch ({ node }: BatchNormSite, { mean, residual, squares }: ObservedSite): void {
    const exactMean = this.#node('Add', [mean, residual])
    const average = this.#average(exactMean, [0], false)
    const offset = this.#node('Sub', [exactMean, average])
    const within = this.#node('Sub', [squares, this.#node('Mul', [residual, residual])])
    const variance = this.#average(this.#node('Add', [within, this.#node('Mul', [offset, offset])]), [0], false)
    node.input[3] = average
    node.input[4] = this.#node('Max', [variance, this.#zero()])
  }

  /**
   * One value for all sites, float32 [images, 3 C]: of the C of all `channels` that `picked` names by their place the
   * means, then the residuals, then the squares. Features are made of them outside (features.ts): nodes for that would
   * take as long as those that look at every position.
   */
  joinMoments (sites: readonly ObservedSite[], picked: readonly number[], channels: number): string {
    const places = picked.length === channels ? undefined : this.#ints('picked', [...picked])
    return this.#joined(MOMENTS.map((moment) => {
      const values = this.#joined(sites.map((site) => site[moment]))
      return places === undefined ? values : this.#node('Gather', [values, places], { axis: { int: 1 } })
    }))
  }

  #joined (values: readonly string[]): string {
    return values.length === 1 ? values[0]! : this.#node('Concat', [...values], { axis: { int: 1 } })
  }

  /** The model with nothing but what the observing outputs and the frontier need, as bytes. */
  finish (frontier: readonly string[]): Uint8Array {
    return this.finishWith([...this.#outputs, ...frontier])
  }

  /** The model with nothing but what the outputs need, as bytes. */
  finishWith (outputs: readonly string[]): Uint8Array {
    const { graph } = this.#model
    graph.node.push(...this.#nodes)
    graph.output = outputs.map((name) => makeValueInfo(name, DataType.FLOAT, []))
    for (const output of graph.output) delete output.type
    removeUnused(graph)
    const order = topologicalOrder(indexGraph(graph))
    graph.node = order
    graph.valueInfo = []
    return serializeModel(this.#model)
  }

  #average (value: string, axes: number[], keepsDims: boolean): string {
    const keepdims: AttributeValue = { int: keepsDims ? 1 : 0 }
    return this.#takesAxes
      ? this.#node('ReduceMean', [value, this.#ints(`axes${axes.join()}`, axes)], { keepdims })
      : this.#node('ReduceMean', [value], { axes: { ints: axes }, keepdims })
  }

  #node (opType: string, input: string[], attributes: Record<string, AttributeValue> = {}): string {
    const output = this.#fresh(`bankswitch.statistics.${opType}`)
    this.#nodes.push(makeNode(opType, output, input, [output], attributes))
    return output
  }

  #zero (): string {
    return this.#constant('zero', (name) => float32Tensor(name, [], Float32Array.of(0)))
  }

  #ints (wish: string, values: number[]): string {
    return this.#constant(wish, (name) => int64Tensor(name, [values.length], values))
  }

  #constant (wish: string, make: (name: string) => ReturnType<typeof int64Tensor>): string {
    let name = this.#constants.get(wish)
    if (name === undefined) {
      name = this.#fresh(`bankswitch.statistics.${wish}`)
      this.#model.graph.initializer.push(make(name))
      this.#constants.set(wish, name)
    }
    return name
  }
}
