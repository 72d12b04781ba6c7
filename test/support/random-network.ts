/** Small convolutional networks from lists of random steps, for property tests: fewer steps are a simpler network. */
import fc from 'fast-check'
import { GraphBuilder } from './graph-builder.js'

const KINDS = [
  'conv', 'conv', 'convBn', 'convBn', 'convBn', 'depthwise', 'grouped', 'batchNorm', 'batchNorm', 'batchNorm',
  'sharedBatchNorm', 'relu', 'relu', 'activation', 'add', 'add', 'concat', 'maxPool', 'averagePool', 'scale', 'shift',
  'gate', 'upsample', 'transposed', 'sequence', 'volume', 'output'
] as const

/** One operator: what it is, which earlier values it reads, and numbers that its sizes are drawn from. */
export interface Step {
  kind: typeof KINDS[number]
  from: number
  with: number
  size: number
  flags: number
}

export interface NetworkPlan {
  opset: number
  channels: number
  steps: Step[]
  hasHead: boolean
  /** Every value that nothing reads is an output; else all but the last one are dead ends. */
  isAllRead: boolean
}

interface Value {
  name: string
  channels: number
  size: number
}

const CHANNELS = [1, 2, 3, 5, 7, 8, 12, 16, 17, 24, 32, 33]
const KERNELS = [1, 3, 3, 5]
const SIZE = 12

const anyStep: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(...KINDS), from: fc.nat(30), with: fc.nat(30), size: fc.nat(1000), flags: fc.nat(255)
})

/** Without the usual bias to small numbers, which would give hardly any network of more than a few nodes. */
export const anyNetwork: fc.Arbitrary<NetworkPlan> = fc.noBias(fc.record({
  opset: fc.constantFrom(11, 13, 17, 21),
  channels: fc.constantFrom(1, 3, 8),
  steps: fc.array(anyStep, { minLength: 1, maxLength: 16, size: 'max' }),
  hasHead: fc.boolean(),
  isAllRead: fc.boolean()
}))

/** The network as bytes of an ONNX file; its input is `x`. */
export function buildNetwork ({ opset, channels, steps, hasHead, isAllRead }: NetworkPlan): Uint8Array {
  const g = new GraphBuilder({ opset, seed: steps.length })
  const values: Value[] = [{ name: g.input('x', ['n', channels, SIZE, SIZE]), channels, size: SIZE }]
  for (const step of steps) {
    // Later values are read more often, or little would be connected.
    const pick = (number: number) => values[Math.max(0, values.length - 1 - number % 4)]!
    const made = apply(g, step, pick(step.from), pick(step.with))
    if (step.kind === 'output') exposeValue(g, made)
    else values.push(made)
  }
  if (g.model.graph.node.length === 0) values.push({ ...values[0]!, name: g.relu('x') })
  const last = values.at(-1)!
  if (hasHead) {
    const pooled = g.node('Flatten', [g.node('GlobalAveragePool', [last.name])])
    g.output(g.linear(g.batchNorm(pooled, last.channels), last.channels, 4), ['n', 4])
  }
  const read = new Set(g.model.graph.node.flatMap(({ input }) => input))
  for (const value of values) {
    if (!read.has(value.name) && (isAllRead || value === last)) exposeValue(g, value)
  }
  return g.bytes()
}

function exposeValue (g: GraphBuilder, { name, channels, size }: Value): void {
  if (g.model.graph.output.some((output) => output.name === name) || name === 'x') return
  g.output(name, ['n', channels, size, size])
}

function apply (g: GraphBuilder, { kind, size: number, flags }: Step, from: Value, other: Value): Value {
  const { channels } = from
  const vector = () => g.floats(g.fresh('constant'), [channels, 1, 1], () => 0.5 + g.uniform())
  const same = (name: string): Value => ({ ...from, name })
  switch (kind) {
    case 'conv': return conv(g, from, number, flags)
    case 'convBn': {
      const made = conv(g, from, number, flags)
      return { ...made, name: g.batchNorm(made.name, made.channels) }
    }
    case 'depthwise': return conv(g, from, number, flags, { group: channels, outputs: channels })
    case 'grouped': {
      const group = [4, 3, 2].find((count) => channels % count === 0) ?? 1
      return conv(g, from, number, flags, { group, outputs: group * (1 + number % 6) })
    }
    case 'batchNorm': return same(g.batchNorm(from.name, channels))
    case 'sharedBatchNorm': {
      const node = g.model.graph.node.findLast(({ opType, input }) => {
        return opType === 'BatchNormalization' && channelsOf(g, input[1]!) === channels
      })
      return same(node === undefined
        ? g.batchNorm(from.name, channels)
        : g.node('BatchNormalization', [from.name, ...node.input.slice(1)]))
    }
    case 'relu': return same(g.relu(from.name))
    case 'activation': return same(flags % 2 === 0 ? g.relu6(from.name) : g.node('Sigmoid', [from.name]))
    case 'scale': return same(g.node('Mul', [from.name, vector()]))
    case 'shift': return same(g.node('Add', [from.name, vector()]))
    case 'gate': return same(g.node('Mul', [from.name, g.node('GlobalAveragePool', [from.name])]))
    case 'add': return same(g.add(from.name, matched(g, other, from)))
    case 'concat': {
      const second = matched(g, other, { ...from, channels: other.channels })
      const name = g.node('Concat', [from.name, second], { axis: { int: 1 } })
      return { ...from, name, channels: channels + other.channels }
    }
    case 'maxPool': return from.size < 3 ? from : { ...from, name: g.maxPool(from.name, 3, 2), size: halved(from.size) }
    case 'averagePool': {
      return from.size < 2 ? from : { ...from, name: averagePool(g, from.name), size: Math.floor(from.size / 2) }
    }
    case 'transposed': return from.size > SIZE ? from : transposed(g, from, number)
    case 'sequence': return same(reshaped(g, from, [from.size * from.size]))
    case 'volume': return same(reshaped(g, from, [1, from.size, from.size]))
    case 'upsample': return from.size > SIZE ? from : upsample(g, from)
    default: return from
  }
}

function conv (
  g: GraphBuilder, { name, channels, size }: Value, number: number, flags: number,
  { group = 1, outputs = CHANNELS[number % CHANNELS.length]! }: { group?: number, outputs?: number } = {}
): Value {
  const stride = flags % 4 === 0 && size > 2 ? 2 : 1
  const made = g.conv(name, {
    inputs: channels,
    outputs,
    group,
    stride,
    kernel: KERNELS[(flags >> 2) % KERNELS.length]!,
    dilation: (flags >> 4) % 4 === 0 ? 2 : 1,
    bias: (flags >> 6) % 2 === 0
  })
  return { name: made, channels: outputs, size: stride === 2 ? halved(size) : size }
}

/** A value of the wanted size and channels, by a resize and a 1x1 Conv where they differ. */
function matched (g: GraphBuilder, value: Value, { channels, size }: Value): string {
  const resized = value.size === size ? value.name : resize(g, value.name, value.channels, size)
  return value.channels === channels ? resized : g.conv(resized, { inputs: value.channels, outputs: channels })
}

function resize (g: GraphBuilder, name: string, channels: number, size: number): string {
  const pooled = g.node('GlobalAveragePool', [name])
  const shape = g.floats(g.fresh('like'), [1, channels, size, size], () => 0)
  return g.add(pooled, shape)
}

function averagePool (g: GraphBuilder, name: string): string {
  return g.node('AveragePool', [name], { kernel_shape: { ints: [2, 2] }, strides: { ints: [2, 2] } })
}

function upsample (g: GraphBuilder, value: Value): Value {
  const scales = g.floats(g.fresh('scales'), [4], (axis) => axis < 2 ? 1 : 2)
  const region = g.floats(g.fresh('region'), [0], () => 0)
  return { ...value, name: g.node('Resize', [value.name, region, scales]), size: 2 * value.size }
}

function transposed (g: GraphBuilder, { name, channels, size }: Value, number: number): Value {
  const outputs = CHANNELS[number % CHANNELS.length]!
  const weight = g.floats(g.fresh('transposed'), [channels, outputs, 2, 2], () => g.uniform() - 0.5)
  const made = g.node('ConvTranspose', [name, weight], { kernel_shape: { ints: [2, 2] }, strides: { ints: [2, 2] } })
  return { name: g.batchNorm(made, outputs), channels: outputs, size: 2 * size }
}

/** Normalised with other spatial axes than two. */
function reshaped (g: GraphBuilder, { name, channels, size }: Value, spatial: number[]): string {
  const to = (dims: number[]) => g.ints(g.fresh('dims'), [-1, channels, ...dims])
  const normalised = g.batchNorm(g.node('Reshape', [name, to(spatial)]), channels)
  return g.node('Reshape', [normalised, to([size, size])])
}

/** Size behind a stride of 2, with padding that would keep it at stride 1. */
function halved (size: number): number {
  return Math.floor((size - 1) / 2) + 1
}

function channelsOf (g: GraphBuilder, name: string): number | undefined {
  const tensor = g.model.graph.initializer.find((initializer) => initializer.name === name)
  return tensor === undefined ? undefined : Number(tensor.dims[0])
}
