/**
 * Pass: the stem, a small graph beside the compiled one. It gives, per image, the moments over positions of what
 * enters the batch norms that no other batch norm comes before: what it gives depends on no bank, so that it can tell
 * which bank an image needs. Domains' signatures are made of it.
 *
 * It must cost a hundredth of the network, while the first convolution of ResNet-50 alone is a thirtieth. So a
 * convolution right before such a batch norm is evaluated at every s-th position in each direction: its strides are
 * multiplied, as long as its windows still overlap, so that every pixel is seen. That is a subset of the very same
 * values, in reference and request alike. Cases:
 *
 *  1. sites are taken by how many nodes stand before them, as long as their channels fit; the first one always
 *  2. of more channels than fit, evenly spaced ones are taken; where the stem is but one convolution, also of more
 *     than are worth their multiplications
 *  3. a convolution whose output something else in the stem reads too, or whose padding depends on its strides
 *     (auto_pad), is evaluated whole; so is what another operator makes
 *  4. a batch norm of constants, or of what has no channels, is none of them; where no other is left, there is no stem
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256 } from '../base/digest.js'
import { elementCount } from '../base/dims.js'
import { indexGraph, topologicalOrder, valuesReadBy, type GraphIndex } from '../onnx/graph.js'
import { isOnnxDomain, parseModel, serializeModel } from '../onnx/model.js'
import { intsAttribute, makeAttribute } from '../onnx/node.js'
import { tapsOf, type Convolution } from '../signature/convolution-moments.js'
import { CHANNELS_MAX } from '../signature/features.js'
import { STEM_FILE, type Stem } from './artefact.js'
import { Observers } from './observers.js'
import { optimise } from './optimise.js'
import { readBatchNorms, type BatchNormSite } from './read-batch-norms.js'
import { isPaddedByStrides, stemConvolution, withChannels } from './stem-convolution.js'
import type { NodeProto } from '../onnx/generated/onnx_pb.js'

/** With the graph itself, as it was cut. */
export interface StemGraph extends Stem {
  bytes: Uint8Array
}

/** A variance of so many values is off by a tenth, which is far less than images of one domain differ. */
const POSITIONS_MIN = 256

/**
 * Of a convolution, for one position of all its channels: 48 channels of 7 x 7 x 3 weights. In place of ResNet's 64
 * they save a fifth of what choosing costs; light JPEG, blur, noise and none of them were told apart in 43.9 of 100
 * crops, and in 44.3 with all, give or take 0.4 (random weights, 564 pictures).
 */
const MULTIPLICATIONS_MAX = 7 * 2 ** 10

/** Taken whatever they cost: with 32 channels the same crops were told apart in 40.4 of 100; fewer would tell less. */
const CHANNELS_MIN = 32

/** Writes what the runtime makes of the stem into `folder`, an empty file for none. Throws ORT_LOAD_FAILED. */
export async function writeStem (graph: StemGraph | undefined, folder: string): Promise<Stem | undefined> {
  const path = join(folder, STEM_FILE)
  if (graph === undefined) {
    await writeFile(path, '')
    return undefined
  }
  const { bytes, ...stem } = graph
  await writeFile(path, serializeModel(await optimise(parseModel(bytes), folder)))
  return stem
}

/** The stem of a prepared model. `activations` are the dimensions of each site's input, for one row. */
export function stemOf (
  bytes: Uint8Array, activations: ReadonlyArray<readonly number[]>
): StemGraph | undefined {
  const model = parseModel(bytes)
  const { graph } = model
  // Overridable defaults become constants, as in the compiled graph.
  const defaults = new Set(graph.initializer.map(({ name }) => name))
  graph.input = graph.input.filter(({ name }) => !defaults.has(name))
  const index = indexGraph(graph)
  const { sites } = readBatchNorms(index, model.functions)
  const { taken, before } = firstSites(index, sites.filter((_, at) => activations[at]!.length > 1), sites)
  if (taken.length === 0) return undefined
  for (const site of taken) {
    const { channels } = site.layer
    sample(index, site, before, elementCount(activations[sites.indexOf(site)]!) / channels)
  }
  const observers = new Observers(model)
  const observed = taken.map((site) => observers.observe(site))
  const all = taken.flatMap(({ layer }) => {
    return Array.from({ length: layer.channels }, (_, channel) => ({ layerKey: layer.key, channel }))
  })
  const convolution = taken.length === 1 ? stemConvolution(index, taken[0]!.input) : undefined
  const count = Math.min(all.length, channelsWorth(convolution))
  const picked = Array.from({ length: count }, (_, at) => Math.floor(at * all.length / count))
  const output = observers.joinMoments(observed, picked, all.length)
  const read = new Set([...taken.map(({ input }) => input), ...[...before].flatMap((node) => [...valuesReadBy(node)])])
  graph.input = graph.input.filter(({ name }) => read.has(name))
  const stem = observers.finishWith([output])
  return {
    bytes: stem,
    digest: sha256(stem),
    inputs: graph.input.map(({ name }) => name),
    output,
    channels: picked.map((at) => all[at]!),
    ...(convolution === undefined ? {} : { convolution: withChannels(convolution, picked) })
  }
}

/** Case 2. */
function channelsWorth (convolution: Convolution | undefined): number {
  if (convolution === undefined) return CHANNELS_MAX
  const affordable = Math.floor(MULTIPLICATIONS_MAX / tapsOf(convolution))
  return Math.min(CHANNELS_MAX, Math.max(affordable, CHANNELS_MIN))
}

/** Cases 1 and 4 among some of all sites, and the nodes that stand before any of those. */
function firstSites (
  index: GraphIndex, sites: readonly BatchNormSite[], all: readonly BatchNormSite[]
): { taken: BatchNormSite[], before: ReadonlySet<NodeProto> } {
  const siteNodes = new Set(all.map(({ node }) => node))
  const banked = new Set<string>()
  const fed = new Set(index.graph.input.map(({ name }) => name))
  for (const node of topologicalOrder(index)) {
    const read = [...valuesReadBy(node)]
    const isBanked = siteNodes.has(node) || read.some((value) => banked.has(value))
    const isFed = read.some((value) => fed.has(value))
    for (const output of node.output) {
      if (isBanked) banked.add(output)
      if (isFed) fed.add(output)
    }
  }
  const first = sites.filter(({ input }) => fed.has(input) && !banked.has(input))
    .map((site) => ({ site, nodes: nodesBefore(index, site) }))
  first.sort((a, b) => a.nodes.size - b.nodes.size)
  const taken: typeof first = []
  let channels = 0
  for (const one of first) {
    if (taken.some(({ site }) => site.input === one.site.input)) continue
    channels += one.site.layer.channels
    if (taken.length > 0 && channels > CHANNELS_MAX) break
    taken.push(one)
  }
  return { taken: taken.map(({ site }) => site), before: new Set(taken.flatMap(({ nodes }) => [...nodes])) }
}

function nodesBefore ({ producerOf }: GraphIndex, { input }: BatchNormSite): Set<NodeProto> {
  const nodes = new Set<NodeProto>()
  const values = [input]
  for (let value = values.pop(); value !== undefined; value = values.pop()) {
    const node = producerOf.get(value)
    if (node === undefined || nodes.has(node)) continue
    nodes.add(node)
    values.push(...valuesReadBy(node))
  }
  return nodes
}

/** Multiplies the strides of the convolution that makes what the site normalises; case 3. */
function sample (
  index: GraphIndex, { input }: BatchNormSite, before: ReadonlySet<NodeProto>, positions: number
): void {
  const node = index.producerOf.get(input)
  if (node?.opType !== 'Conv' || !isOnnxDomain(node.domain)) return
  if (isPaddedByStrides(node) || [...before].some((other) => [...valuesReadBy(other)].includes(input))) return
  const kernel = index.initializerOf.get(node.input[1] ?? '')
  const extents = kernel?.dims.slice(2).map(Number) ?? []
  const strides = intsAttribute(node, 'strides') ?? extents.map(() => 1)
  const step = stepOf(positions, extents, strides)
  if (step === 1) return
  node.attribute = node.attribute.filter(({ name }) => name !== 'strides')
  node.attribute.push(makeAttribute('strides', { ints: strides.map((stride) => stride * step) }))
}

/** The largest that leaves enough positions and lets the windows overlap: of some that only touch, JPEG is not told. */
function stepOf (positions: number, extents: readonly number[], strides: readonly number[]): number {
  const overlap = (step: number) => extents.every((extent, axis) => step * strides[axis]! < extent)
  const leaves = (step: number) => positions / step ** extents.length >= POSITIONS_MIN
  let step = 1
  while (extents.length > 0 && overlap(step + 1) && leaves(step + 1)) step++
  return step
}
