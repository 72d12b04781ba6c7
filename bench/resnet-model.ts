/** Networks with random weights as model folders that a server can serve. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseModel } from '#src/onnx/model.js'
import { resnet50 } from '../test/support/networks.js'

export const RESNET = 'resnet50'
export const RESNET_SIZE = 224
export const CLASSES = 1000

/** Makes `folder`, with ResNet-50 in it. */
export async function writeResnetModel (folder: string): Promise<void> {
  await writeClassifier(folder, RESNET, resnet50({ size: RESNET_SIZE, classes: CLASSES }).bytes)
}

/** Makes `folder`, with a classifier of pictures as large as ResNet's in it; gives the path of its graph. */
export async function writeClassifier (folder: string, name: string, bytes: Uint8Array): Promise<string> {
  const model = join(folder, name)
  await mkdir(model, { recursive: true })
  const path = join(model, 'model.onnx')
  await writeFile(path, bytes)
  await writeFile(join(model, 'labels.json'), JSON.stringify(Array.from({ length: CLASSES }, (_, at) => `class ${at}`)))
  await writeFile(join(model, 'manifest.json'), JSON.stringify({
    format: 1,
    name,
    title: `${name} with random weights`,
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
  return path
}
