/**
 * Pass: turns the placed sentinels of an optimised graph into inputs that a bank fills.
 *
 * One array per bank, few inputs per run: ports whose dimensions agree behind the first axis are laid end to end along
 * that axis and share an input, which a Split cuts; a port that is alone with its dimensions is an input itself, and so
 * is a large one. (An input costs some microseconds per run, a Split copies what it cuts.) Cases:
 *
 *  1. a float initializer whose patterns are exactly one port's: that port, in this order and padding
 *  2. the same port found in two initializers (the optimiser duplicated it): both are filled
 *  3. a port that is a graph input since lowering: joins the groups as it is
 *  4. a port found nowhere: its site is reported, and the pipeline lowers it in another way
 */
import { PADDING, type Port, type PortLayout } from '../bank/port.js'
import { createNamer } from '../onnx/graph.js'
import { opsetOf, type OnnxModel } from '../onnx/model.js'
import { makeNode, makeValueInfo } from '../onnx/node.js'
import { DataType, dimsOf, int64Tensor, isExternal, readFloat32 } from '../onnx/tensor.js'
import { matchSentinel, PADDED } from './sentinels.js'
import type { BatchNormLayer } from '../bank/bank.js'
import type { PortSource } from './lower-batch-norms.js'

/** An input of the compiled graph that takes a slice of the flat bank. */
export interface BankInput {
  name: string
  /** Where the slice begins, in float32 elements. */
  offset: number
  dims: number[]
}

export interface PromotedPorts {
  layout: PortLayout
  inputs: BankInput[]
  /** What each site costs in every bank, padding included. */
  siteBytes: number[]
}

/** Slices start on cache lines. */
const SLICE_ALIGNMENT_ELEMENTS = 16

/** From this operator set on Split takes its sizes as an input. */
const SPLIT_SIZES_AS_INPUT_OPSET = 13

/** From this size on a copy takes longer than handing over one more input. */
const OWN_INPUT_BYTES = 64 * 1024

interface PlacedPort {
  source: PortSource
  value: string
  dims: number[]
  channel: Uint16Array
  weights?: Float32Array
}

/**
 * Edits `model` (the optimiser's output) in place. Returns the sites of which a port was found nowhere, or the layout
 * and the bank inputs when all were found.
 */
export function promotePorts (
  model: OnnxModel, sources: readonly PortSource[], layers: readonly BatchNormLayer[]
): { lostSites: number[] } | PromotedPorts {
  const placed = [...findSentinels(model, sources), ...findInputs(model, sources)]
  const found = new Set(placed.map(({ source }) => source))
  const lostSites = new Set(sources.filter((source) => !found.has(source)).map(({ site }) => site))
  if (lostSites.size > 0) return { lostSites: [...lostSites] }
  const names = new Set(placed.map(({ value }) => value))
  model.graph.initializer = model.graph.initializer.filter(({ name }) => !names.has(name))
  model.graph.input = model.graph.input.filter(({ name }) => !names.has(name))
  return connect(model, placed, layers)
}

function findSentinels (model: OnnxModel, sources: readonly PortSource[]): PlacedPort[] {
  const byFirst = new Map(sources.flatMap((source) => source.range === undefined ? [] : [[source.range.first, source]]))
  const ranges = [...byFirst.values()].map(({ range }) => range!).sort((a, b) => a.first - b.first)
  return model.graph.initializer.flatMap((tensor) => {
    if (tensor.dataType !== DataType.FLOAT || isExternal(tensor)) return []
    const match = matchSentinel(readFloat32(tensor), ranges)
    if (match === undefined) return []
    const source = byFirst.get(match.range.first)!
    return [{ source, value: tensor.name, dims: dimsOf(tensor), ...reorder(source, match.source) }]
  })
}

function reorder (source: PortSource, order: Int32Array): Pick<PlacedPort, 'channel' | 'weights'> {
  const channel = new Uint16Array(order.length).fill(PADDING)
  const weights = source.weights === undefined ? undefined : new Float32Array(order.length)
  for (let at = 0; at < order.length; at++) {
    const element = order[at]!
    if (element === PADDED) continue
    channel[at] = source.channel[element]!
    if (weights !== undefined) weights[at] = source.weights![element]!
  }
  return weights === undefined ? { channel } : { channel, weights }
}

function findInputs (model: OnnxModel, sources: readonly PortSource[]): PlacedPort[] {
  const inputs = new Set(model.graph.input.map(({ name }) => name))
  return sources.flatMap((source) => {
    const { input, dims, channel } = source
    return input !== undefined && inputs.has(input) ? [{ source, value: input, dims, channel }] : []
  })
}

function connect (model: OnnxModel, placed: readonly PlacedPort[], layers: readonly BatchNormLayer[]): PromotedPorts {
  const fresh = createNamer(model.graph)
  const inputs: BankInput[] = []
  const ports: Port[] = []
  let length = 0
  for (const group of groupPorts(placed)) {
    const offset = Math.ceil(length / SLICE_ALIGNMENT_ELEMENTS) * SLICE_ALIGNMENT_ELEMENTS
    const [first] = group as [PlacedPort, ...PlacedPort[]]
    const rows = group.map(({ dims }) => dims[0]!)
    const dims = [rows.reduce((sum, count) => sum + count, 0), ...first.dims.slice(1)]
    const name = group.length === 1 ? first.value : fresh(`bankswitch.bank.${inputs.length}`)
    if (group.length > 1) addSplit(model, fresh, name, group.map(({ value }) => value), rows)
    model.graph.input.push(makeValueInfo(name, DataType.FLOAT, dims))
    inputs.push({ name, offset, dims })
    length = offset
    for (const port of group) {
      ports.push(toPort(port, length))
      length += port.channel.length
    }
  }
  return { layout: { layers, ports, length }, inputs, siteBytes: countBytes(placed) }
}

function countBytes (placed: readonly PlacedPort[]): number[] {
  const bytes: number[] = []
  for (const { source: { site }, channel } of placed) {
    bytes[site] = (bytes[site] ?? 0) + channel.length * Float32Array.BYTES_PER_ELEMENT
  }
  return bytes
}

/** Ports that share an input. */
function groupPorts (placed: readonly PlacedPort[]): PlacedPort[][] {
  const groups = new Map<string, PlacedPort[]>()
  for (const [at, port] of placed.entries()) {
    const isLarge = port.channel.length * Float32Array.BYTES_PER_ELEMENT >= OWN_INPUT_BYTES
    const key = isLarge ? `alone ${at}` : port.dims.slice(1).join('x')
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [port])
    else group.push(port)
  }
  return [...groups.values()]
}

function toPort ({ source, channel, weights }: PlacedPort, offset: number): Port {
  return {
    layerKey: source.layerKey,
    role: source.role,
    offset,
    channel,
    ...(weights === undefined ? {} : { weights }),
    ...(source.bias === undefined ? {} : { bias: source.bias })
  }
}

function addSplit (
  model: OnnxModel, fresh: (wish: string) => string, input: string, outputs: string[], rows: number[]
): void {
  const isSizesInput = opsetOf(model) >= SPLIT_SIZES_AS_INPUT_OPSET
  const sizes = isSizesInput ? fresh(`${input}.sizes`) : undefined
  if (sizes !== undefined) model.graph.initializer.push(int64Tensor(sizes, [rows.length], rows))
  model.graph.node.unshift(makeNode(
    'Split', fresh(`${input}.split`), sizes === undefined ? [input] : [input, sizes], outputs,
    { axis: { int: 0 }, ...(isSizesInput ? {} : { split: { ints: rows } }) }
  ))
}
