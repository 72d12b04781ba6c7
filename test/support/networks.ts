/** Well-known architectures with random weights, as bytes of an ONNX file; for tests and benchmarks. */
import { GraphBuilder, type ConvOptions } from './graph-builder.js'

export interface Network {
  bytes: Uint8Array
  /** Dimensions of one row of the input `x`. */
  inputDims: number[]
}

export interface ImageOptions {
  size?: number
  classes?: number
  /** Channels of a ResNet's first stage; a narrow one has all the structure of the real, at a fraction of the work. */
  width?: number
}

/** He et al. 2016, the basic-block variant. */
export function resnet18 (options: ImageOptions = {}): Network {
  return resnet({ blocks: [2, 2, 2, 2], isBottleneck: false, ...options })
}

/** He et al. 2016, the bottleneck variant (stride in the 3x3 convolution). */
export function resnet50 (options: ImageOptions = {}): Network {
  return resnet({ blocks: [3, 4, 6, 3], isBottleneck: true, ...options })
}

function resnet (
  { blocks, isBottleneck, size = 224, classes = 1000, width: first = 64 }: ImageOptions & { blocks: number[], isBottleneck: boolean }
): Network {
  const g = new GraphBuilder()
  let x = g.input('x', ['batch', 3, 'height', 'width'])
  x = g.relu(g.batchNorm(g.conv(x, { inputs: 3, outputs: first, kernel: 7, stride: 2, name: 'conv1' }), first, 'bn1'))
  x = g.maxPool(x, 3, 2)
  let inputs = first
  for (const [stage, count] of blocks.entries()) {
    const width = first * 2 ** stage
    const outputs = isBottleneck ? 4 * width : width
    for (let block = 0; block < count; block++) {
      const name = `layer${stage + 1}.${block}`
      const stride = block === 0 && stage > 0 ? 2 : 1
      const convBn = (y: string, at: number, shape: ConvOptions) => {
        return g.batchNorm(g.conv(y, { ...shape, name: `${name}.conv${at}` }), shape.outputs, `${name}.bn${at}`)
      }
      let y: string
      if (isBottleneck) {
        y = g.relu(convBn(x, 1, { inputs, outputs: width }))
        y = g.relu(convBn(y, 2, { inputs: width, outputs: width, kernel: 3, stride }))
        y = convBn(y, 3, { inputs: width, outputs })
      } else {
        y = g.relu(convBn(x, 1, { inputs, outputs, kernel: 3, stride }))
        y = convBn(y, 2, { inputs: outputs, outputs, kernel: 3 })
      }
      if (stride !== 1 || inputs !== outputs) {
        x = g.conv(x, { inputs, outputs, stride, name: `${name}.downsample.0` })
        x = g.batchNorm(x, outputs, `${name}.downsample.1`)
      }
      x = g.relu(g.add(y, x))
      inputs = outputs
    }
  }
  g.output(g.head(x, inputs, classes), ['batch', classes])
  return { bytes: g.bytes(), inputDims: [1, 3, size, size] }
}

/** Expansion, output channels, repeats and first stride of each stage (Sandler et al. 2018, table 2). */
const MOBILENET_V2_STAGES = [
  [1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]
] as const

/** Sandler et al. 2018, width 1.0. */
export function mobilenetV2 ({ size = 224, classes = 1000 }: ImageOptions = {}): Network {
  const g = new GraphBuilder()
  let x = g.input('x', ['batch', 3, 'height', 'width'])
  x = g.conv(x, { inputs: 3, outputs: 32, kernel: 3, stride: 2, name: 'features.0.0' })
  x = g.relu6(g.batchNorm(x, 32, 'features.0.1'))
  let inputs = 32
  let index = 1
  for (const [expansion, outputs, repeats, firstStride] of MOBILENET_V2_STAGES) {
    for (let repeat = 0; repeat < repeats; repeat++) {
      const name = `features.${index++}.conv`
      const stride = repeat === 0 ? firstStride : 1
      const hidden = inputs * expansion
      let y = x
      if (expansion !== 1) {
        y = g.relu6(g.batchNorm(g.conv(y, { inputs, outputs: hidden, name: `${name}.0.0` }), hidden, `${name}.0.1`))
      }
      y = g.conv(y, { inputs: hidden, outputs: hidden, kernel: 3, stride, group: hidden, name: `${name}.1.0` })
      y = g.relu6(g.batchNorm(y, hidden, `${name}.1.1`))
      y = g.batchNorm(g.conv(y, { inputs: hidden, outputs, name: `${name}.2` }), outputs, `${name}.3`)
      x = stride === 1 && inputs === outputs ? g.add(x, y) : y
      inputs = outputs
    }
  }
  x = g.relu6(g.batchNorm(g.conv(x, { inputs, outputs: 1280, name: 'features.18.0' }), 1280, 'features.18.1'))
  g.output(g.head(x, 1280, classes), ['batch', classes])
  return { bytes: g.bytes(), inputDims: [1, 3, size, size] }
}

export interface SuperResolverOptions {
  channels?: number
  blocks?: number
  /** Strength of what the convolutions add to the interpolation. */
  gain?: number
}

/**
 * Doubles a picture: residual blocks beside a bicubic interpolation, input `x`, output `doubled`, values 0 to 1. An output
 * pixel sees `2 * blocks + 3` pixels far, and the interpolation sees 2.
 */
export function superResolver ({ channels = 8, blocks = 1, gain = 0.1 }: SuperResolverOptions = {}): Network {
  const g = new GraphBuilder()
  const x = g.input('x', ['batch', 3, 'height', 'width'])
  let h = g.conv(x, { inputs: 3, outputs: channels, kernel: 3, bias: true, name: 'head' })
  const head = h
  for (let block = 0; block < blocks; block++) {
    const name = `body.${block}`
    let y = g.conv(h, { inputs: channels, outputs: channels, kernel: 3, name: `${name}.conv1` })
    y = g.relu(g.batchNorm(y, channels, `${name}.bn1`))
    y = g.conv(y, { inputs: channels, outputs: channels, kernel: 3, name: `${name}.conv2` })
    h = g.add(h, g.batchNorm(y, channels, `${name}.bn2`))
  }
  h = g.conv(h, { inputs: channels, outputs: channels, kernel: 3, name: 'conv' })
  h = g.add(head, g.batchNorm(h, channels, 'bn'))
  h = g.conv(h, { inputs: channels, outputs: 12, kernel: 3, bias: true, name: 'tail' })
  const detail = g.node('DepthToSpace', [h], { blocksize: { int: 2 } })
  const skip = g.nodeWithText('Resize', [x, '', g.floats('scales', [4], (axis) => axis < 2 ? 1 : 2)], 'mode', 'cubic')
  const added = g.node('Mul', [detail, g.scalar(gain)])
  g.node('Add', [added, skip], {}, ['doubled'])
  g.output('doubled', ['batch', 3, 'height2', 'width2'])
  return { bytes: g.bytes(), inputDims: [1, 3, 48, 48] }
}

/** Halves and doubles again, so that it takes even sides only; the size stays. Output pixels see 6 pixels far. */
export function hourglass (colours: 1 | 3 = 3): Network {
  const g = new GraphBuilder()
  let x = g.input('x', ['batch', colours, 'height', 'width'])
  x = g.conv(x, { inputs: colours, outputs: 8, kernel: 3, stride: 2, name: 'down' })
  x = g.relu(g.batchNorm(x, 8, 'bn'))
  x = g.conv(x, { inputs: 8, outputs: 4 * colours, kernel: 3, bias: true, name: 'up' })
  g.node('DepthToSpace', [x], { blocksize: { int: 2 } }, ['same'])
  g.output('same', ['batch', colours, 'height', 'width'])
  return { bytes: g.bytes(), inputDims: [1, colours, 32, 32] }
}
