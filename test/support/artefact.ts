/** A small artefact that no compiler made, for tests of what keeps and reads artefacts. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PADDING } from '#src/bank/port.js'
import { GRAPH_FILE, STEM_FILE, WEIGHTS_FILE, writeArtefact, type CompiledParts } from '#src/compiler/artefact.js'
import { randomBank } from './compile.js'

const FIRST = 'layer1.0.bn1'
const SECOND = 'ünusual/"key"'
const LAYERS = [
  { key: FIRST, channels: 3, epsilon: Math.fround(1e-5) }, { key: SECOND, channels: 2, epsilon: 0 }
]

/** Every optional part once there and once not; numbers that are easily lost. */
export function artefactParts (): CompiledParts {
  return {
    description: {
      fingerprint: 'f'.repeat(64),
      origin: 'inserted',
      layers: LAYERS,
      sites: [
        { layerKey: FIRST, node: 'first', kind: 'fold', bankBytes: 24, savedBytes: 100.5 },
        { layerKey: SECOND, node: '', kind: 'affine', bankBytes: 16, savedBytes: 0 }
      ],
      inputs: [{ name: 'x', type: 'float32', dims: [null, 3, 8, 8] }],
      outputs: [{ name: 'y', type: 'int64', dims: [] }],
      samples: [{ x: [1, 3, 8, 8] }, { x: [1, 3, 4, 4] }],
      weightBytes: 1234,
      convolutions: ['4x3x1x1:0123456789abcdef'],
      runBytes: 4321,
      proof: { maxRelativeError: 1.2345678901234567e-6, isRowInvariant: true }
    },
    stem: {
      digest: 'e'.repeat(64),
      inputs: ['x'],
      output: 'moments',
      channels: [{ layerKey: FIRST, channel: 2 }],
      convolution: {
        inputChannels: 3,
        kernel: [1, 2],
        strides: [2, 1],
        padding: [0, 1, 2, 3],
        weights: Float32Array.of(0.1, -0, 1e-40, 0, 3e38, 5),
        biases: Float32Array.of(-1)
      }
    },
    layout: {
      layers: LAYERS,
      ports: [
        {
          layerKey: FIRST,
          role: 'weight',
          offset: 0,
          channel: Uint16Array.of(2, 1, 0, PADDING, 1),
          weights: Float32Array.of(0.1, -0, 1e-40, 0, 3e38)
        },
        {
          layerKey: FIRST,
          role: 'shift',
          offset: 16,
          channel: Uint16Array.of(0, 1, 2),
          bias: Float32Array.of(1, 2, 3)
        },
        { layerKey: SECOND, role: 'scale', offset: 32, channel: Uint16Array.of(1, 0) }
      ],
      length: 34
    },
    bankInputs: [{ name: 'bank.0', offset: 0, dims: [5] }, { name: 'bank.1', offset: 16, dims: [3, 1, 1] }],
    ownBank: randomBank({ layers: LAYERS }, 1)
  }
}

/** Writes it into a folder that is there; graph, weights and stem are not what they say. */
export async function writeSampleArtefact (
  folder: string, parts = artefactParts(), weights = 'weights'
): Promise<void> {
  await writeFile(join(folder, GRAPH_FILE), 'a graph')
  await writeFile(join(folder, WEIGHTS_FILE), weights)
  await writeFile(join(folder, STEM_FILE), 'a stem')
  await writeArtefact(folder, parts)
}
