// Small models in the folder that is named: one that doubles pictures, and one that gives back tensors of many types.
import { DOUBLER, writeModels } from '../../../build/test/support/models-folder.js'
import { GraphBuilder } from '../../../build/test/support/graph-builder.js'
import { superResolver } from '../../../build/test/support/networks.js'
import { DataType } from '../../../dist/onnx/tensor.js'

/** Types that a server takes, and those that it only gives. */
const TAKEN = { UINT8: 'UINT8', INT32: 'INT32', INT64: 'INT64', BOOL: 'BOOL', FP16: 'FLOAT16', FP64: 'DOUBLE' }
const GIVEN = { INT8: 'INT8', INT16: 'INT16', UINT16: 'UINT16', UINT32: 'UINT32', UINT64: 'UINT64' }

function echo () {
  const g = new GraphBuilder()
  const image = g.input('FP32', ['n', 3, 4, 4])
  g.output(g.batchNorm(g.conv(image, { inputs: 3, outputs: 2 }), 2, 'bn'), ['n', 2, 4, 4])
  for (const [name, type] of Object.entries(TAKEN)) {
    g.node('Identity', [g.input(name, ['n', 2], DataType[type])], {}, [`${name}_out`])
    g.output(`${name}_out`, ['n', 2], DataType[type])
  }
  for (const [name, type] of Object.entries(GIVEN)) {
    g.node('Cast', ['INT32'], { to: { int: DataType[type] } }, [`${name}_out`])
    g.output(`${name}_out`, ['n', 2], DataType[type])
  }
  return g.bytes()
}

const shapes = Object.fromEntries(Object.keys(TAKEN).map((name) => [name, { shape: [1, 2] }]))

await writeModels(process.argv[2], [
  { manifest: DOUBLER, graph: superResolver().bytes },
  {
    manifest: {
      format: 1,
      name: 'echo',
      title: 'Echo',
      graph: 'model.onnx',
      task: 'tensors',
      inputs: { FP32: { shape: [1, 3, 4, 4] }, ...shapes },
      defaultDomain: 'plain'
    },
    graph: echo()
  }
])
