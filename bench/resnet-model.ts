/** ResNet-50 with random weights as a model folder that a server can serve. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseModel } from '#src/onnx/model.js'
import { resnet50 } from '../test/support/networks.js'

export const RESNET = 'resnet50'
export const RESNET_SIZE = 224
const CLASSES = 1000

/** Makes `folder`, with the one model in it. */
export async function writeResnetModel (folder: string): Promise<void> {
  const { bytes } = resnet50({ size: RESNET_SIZE, classes: CLASSES })
  const model = join(folder, RESNET)
  await mkdir(model, { recursive: true })
  await writeFile(join(model, 'model.onnx'), bytes)
  await writeFile(join(model, 'labels.json'), JSON.stringify(Array.from({ length: CLASSES }, (_, at) => `class ${at}`)))
  await writeFile(join(model, 'manifest.json'), JSON.stringify({
    format: 1,
    name: RESNET,
    title: 'ResNet-50 with random weights',
    graph: 'model.onnx',
    task: 'classification',
    input: {
      name: 'x',
      size: { height: RESNET_SIZE, width: RESNET_SIZE },
      colour: 'rgb',
      layout: 'NCHW',
      mean: [0.5, 0.5, 0.5],
      std: [0.25, 0.25, 0.25],
      resize: { fit: 'fill', kernel: 'bilinear' }
    },
    output: { name: parseModel(bytes).graph.output[0]!.name, activation: 'softmax' },
    labels: 'labels.json',
    defaultDomain: 'own'
  }))
}
