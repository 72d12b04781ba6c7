/** Architectures whose batch norms do not all stand behind convolutions, or whose convolutions are small. */
import { GraphBuilder, type ConvOptions } from './graph-builder.js'
import type { ImageOptions, Network } from './networks.js'

/** Huang et al. 2017: batch norms before convolutions and behind concatenations. */
export function densenet121 ({ size = 224, classes = 1000 }: ImageOptions = {}): Network {
  const growth = 32
  const g = new GraphBuilder()
  let x = g.input('x', ['batch', 3, 'height', 'width'])
  x = g.conv(x, { inputs: 3, outputs: 64, kernel: 7, stride: 2, name: 'features.conv0' })
  x = g.maxPool(g.relu(g.batchNorm(x, 64, 'features.norm0')), 3, 2)
  let channels = 64
  for (const [block, layers] of [6, 12, 24, 16].entries()) {
    for (let layer = 0; layer < layers; layer++) {
      const name = `features.denseblock${block + 1}.denselayer${layer + 1}`
      let y = g.relu(g.batchNorm(x, channels, `${name}.norm1`))
      y = g.conv(y, { inputs: channels, outputs: 4 * growth, name: `${name}.conv1` })
      y = g.relu(g.batchNorm(y, 4 * growth, `${name}.norm2`))
      y = g.conv(y, { inputs: 4 * growth, outputs: growth, kernel: 3, name: `${name}.conv2` })
      x = g.node('Concat', [x, y], { axis: { int: 1 } })
      channels += growth
    }
    if (block === 3) break
    const name = `features.transition${block + 1}`
    x = g.relu(g.batchNorm(x, channels, `${name}.norm`))
    x = g.averagePool(g.conv(x, { inputs: channels, outputs: channels / 2, name: `${name}.conv` }), 2, 2)
    channels /= 2
  }
  x = g.relu(g.batchNorm(x, channels, 'features.norm5'))
  g.output(g.head(x, channels, classes), ['batch', classes])
  return { bytes: g.bytes(), inputDims: [1, 3, size, size] }
}

/** Expansion, kernel, stride, output channels and repeats of each stage (Tan & Le 2019, table 1). */
const EFFICIENTNET_B0_STAGES = [
  [1, 3, 1, 16, 1], [6, 3, 2, 24, 2], [6, 5, 2, 40, 2], [6, 3, 2, 80, 3], [6, 5, 1, 112, 3], [6, 5, 2, 192, 4],
  [6, 3, 1, 320, 1]
] as const

/** Tan & Le 2019: depthwise convolutions, squeeze and excitation, SiLU. */
export function efficientnetB0 ({ size = 224, classes = 1000 }: ImageOptions = {}): Network {
  const g = new GraphBuilder()
  const silu = (x: string) => g.node('Mul', [x, g.node('Sigmoid', [x])])
  let x = g.input('x', ['batch', 3, 'height', 'width'])
  x = silu(g.batchNorm(g.conv(x, { inputs: 3, outputs: 32, kernel: 3, stride: 2, name: 'stem' }), 32, 'stem.bn', 1e-3))
  let inputs = 32
  let index = 0
  for (const [expansion, kernel, firstStride, outputs, repeats] of EFFICIENTNET_B0_STAGES) {
    for (let repeat = 0; repeat < repeats; repeat++) {
      const name = `blocks.${index++}`
      const stride = repeat === 0 ? firstStride : 1
      const hidden = inputs * expansion
      let y = x
      if (expansion !== 1) {
        y = silu(g.batchNorm(g.conv(y, { inputs, outputs: hidden, name: `${name}.expand` }), hidden, `${name}.bn0`, 1e-3))
      }
      y = g.conv(y, { inputs: hidden, outputs: hidden, kernel, stride, group: hidden, name: `${name}.depthwise` })
      y = silu(g.batchNorm(y, hidden, `${name}.bn1`, 1e-3))
      const squeezed = Math.max(1, inputs / 4)
      let gate = g.node('GlobalAveragePool', [y])
      gate = silu(g.conv(gate, { inputs: hidden, outputs: squeezed, bias: true, name: `${name}.se.reduce` }))
      gate = g.node('Sigmoid', [g.conv(gate, { inputs: squeezed, outputs: hidden, bias: true, name: `${name}.se.expand` })])
      y = g.conv(g.node('Mul', [y, gate]), { inputs: hidden, outputs, name: `${name}.project` })
      y = g.batchNorm(y, outputs, `${name}.bn2`, 1e-3)
      x = stride === 1 && inputs === outputs ? g.add(x, y) : y
      inputs = outputs
    }
  }
  x = silu(g.batchNorm(g.conv(x, { inputs, outputs: 1280, name: 'head' }), 1280, 'head.bn', 1e-3))
  g.output(g.head(x, 1280, classes), ['batch', classes])
  return { bytes: g.bytes(), inputDims: [1, 3, size, size] }
}

/** Ma et al. 2018 (ShuffleNet V2, 1x): channel splits and shuffles between small convolutions. */
export function shufflenetV2 ({ size = 224, classes = 1000 }: ImageOptions = {}): Network {
  const g = new GraphBuilder()
  const convBn = (x: string, shape: ConvOptions & { name: string }) => {
    return g.batchNorm(g.conv(x, shape), shape.outputs, `${shape.name}.bn`)
  }
  const shuffle = (x: string, channels: number, side: number) => {
    const [before, after] = [[-1, 2, channels / 2, side, side], [-1, channels, side, side]]
    const apart = g.node('Reshape', [x, g.ints(g.fresh('shape'), before)])
    return g.node('Reshape', [g.node('Transpose', [apart], { perm: { ints: [0, 2, 1, 3, 4] } }), g.ints(g.fresh('shape'), after)])
  }
  let x = g.input('x', ['batch', 3, size, size])
  x = g.maxPool(g.relu(convBn(x, { inputs: 3, outputs: 24, kernel: 3, stride: 2, name: 'conv1' })), 3, 2)
  let inputs = 24
  let side = size / 4
  for (const [stage, [outputs, repeats]] of ([[116, 4], [232, 8], [464, 4]] as const).entries()) {
    const half = outputs / 2
    for (let repeat = 0; repeat < repeats; repeat++) {
      const name = `stage${stage + 2}.${repeat}`
      const stride = repeat === 0 ? 2 : 1
      let left = x
      let right = x
      if (stride === 1) {
        const parts = [g.fresh('left'), g.fresh('right')]
        g.node('Split', [x, g.ints(g.fresh('sizes'), [half, half])], { axis: { int: 1 } }, parts)
        left = parts[0]!
        right = parts[1]!
      } else {
        left = convBn(x, { inputs, outputs: inputs, kernel: 3, stride, group: inputs, name: `${name}.branch1.0` })
        left = g.relu(convBn(left, { inputs, outputs: half, name: `${name}.branch1.2` }))
      }
      const from = stride === 1 ? half : inputs
      right = g.relu(convBn(right, { inputs: from, outputs: half, name: `${name}.branch2.0` }))
      right = convBn(right, { inputs: half, outputs: half, kernel: 3, stride, group: half, name: `${name}.branch2.3` })
      right = g.relu(convBn(right, { inputs: half, outputs: half, name: `${name}.branch2.5` }))
      side /= stride
      x = shuffle(g.node('Concat', [left, right], { axis: { int: 1 } }), outputs, side)
      inputs = outputs
    }
  }
  x = g.relu(convBn(x, { inputs, outputs: 1024, name: 'conv5' }))
  g.output(g.head(x, 1024, classes), ['batch', classes])
  return { bytes: g.bytes(), inputDims: [1, 3, size, size] }
}

/** A residual super-resolution net of 3x3 convolutions, doubling each side. */
export function superResolution ({ size = 64 }: ImageOptions = {}): Network {
  const [channels, blocks] = [32, 8]
  const g = new GraphBuilder()
  const x = g.input('x', ['batch', 3, 'height', 'width'])
  const convBn = (y: string, name: string) => {
    return g.batchNorm(g.conv(y, { inputs: channels, outputs: channels, kernel: 3, name }), channels, `${name}.bn`)
  }
  const head = g.conv(x, { inputs: 3, outputs: channels, kernel: 3, bias: true, name: 'head' })
  let y = head
  for (let block = 0; block < blocks; block++) {
    y = g.add(y, convBn(g.relu(convBn(y, `body.${block}.conv1`)), `body.${block}.conv2`))
  }
  y = g.conv(g.add(y, head), { inputs: channels, outputs: 12, kernel: 3, bias: true, name: 'tail' })
  g.output(g.node('DepthToSpace', [y], { blocksize: { int: 2 } }), ['batch', 3, 'tall', 'wide'])
  return { bytes: g.bytes(), inputDims: [1, 3, size, size] }
}
