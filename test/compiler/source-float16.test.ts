import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { bytesOf } from '#src/base/bytes.js'
import { numberToFloat16 } from '#src/base/float16.js'
import { readArtefact } from '#src/compiler/artefact.js'
import { compileSource } from '#src/compiler/pipeline.js'
import { widenFloat16 } from '#src/compiler/source/widen-float16.js'
import { TensorProtoSchema, type TensorProto } from '#src/onnx/generated/onnx_pb.js'
import { parseModel, serializeModel } from '#src/onnx/model.js'
import { DataType, float32Tensor, readFloat32 } from '#src/onnx/tensor.js'
import { compileExactly } from '../support/compile.js'
import { end, picture } from '../support/exact.js'
import { temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'

function halfTensor (tensor: TensorProto): TensorProto {
  if (tensor.dataType !== DataType.FLOAT) return tensor
  const patterns = Uint16Array.from(readFloat32(tensor), numberToFloat16)
  return create(TensorProtoSchema, {
    name: tensor.name, dims: tensor.dims, dataType: DataType.FLOAT16, rawData: bytesOf(patterns)
  })
}

/** All weights in float16; inputs and outputs too unless they are kept. */
function halve (g: GraphBuilder, isEdgeKept = false): Uint8Array {
  const { graph } = g.model
  graph.initializer = graph.initializer.map(halfTensor)
  if (!isEdgeKept) {
    for (const { type } of [...graph.input, ...graph.output]) type!.tensorType!.elemType = DataType.FLOAT16
  }
  return g.bytes()
}

function network (): GraphBuilder {
  const g = new GraphBuilder({ opset: 17 })
  let x = picture(g, 3)
  for (const [inputs, outputs] of [[3, 16], [16, 8]] as const) {
    x = g.relu(g.batchNorm(g.conv(x, { inputs, outputs, kernel: 3 }), outputs, `bn${outputs}`))
  }
  end(g, x, 8)
  return g
}

describe('a float16 network', () => {
  test('is compiled in float32 and keeps float16 at its edge', async (t) => {
    const path = join(await temporaryFolder(t), 'half.onnx')
    await writeFile(path, halve(network()))
    const folder = await temporaryFolder(t)
    await compileSource({ path, origin: 'graph' }, folder, { foldBudget: 1, samples: [] })
    const artefact = await readArtefact(folder)
    assert.deepEqual(artefact.inputs.map(({ type }) => type), ['float16'])
    assert.deepEqual(artefact.outputs.map(({ type }) => type), ['float16'])
    assert.deepEqual(artefact.layers.map(({ key }) => key), ['bn16', 'bn8'])
  })

  test('widened, it computes under random banks what the compiler makes of it', async (t) => {
    const model = parseModel(halve(network()))
    assert.equal(widenFloat16(model), true)
    await compileExactly(t, serializeModel(model), { foldBudget: 1 })
  })

  test('casts inside, constants in attributes and nested graphs are widened too', async (t) => {
    const g = new GraphBuilder({ opset: 17 })
    const wide = g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 }), 8, 'bn')
    const [then, otherwise] = [new GraphBuilder(), new GraphBuilder()]
    then.output(then.node('Add', [wide, wide], {}, ['chosen']), ['n', 8, 9, 9], DataType.FLOAT16)
    const constant = otherwise.node('Constant', [], { value: { tensor: halfTensor(float32Tensor('', [], Float32Array.of(3))) } })
    otherwise.output(otherwise.node('Mul', [wide, constant], {}, ['chosen']), ['n', 8, 9, 9], DataType.FLOAT16)
    const sum = g.node('ReduceSum', [g.node('Cast', [wide], { to: { int: DataType.FLOAT } })], { keepdims: { int: 0 } })
    const isLarge = g.node('Greater', [sum, g.scalar(0)])
    const chosen = g.choose(isLarge, then, otherwise)
    end(g, g.node('Cast', [g.node('Cast', [chosen], { to: { int: DataType.FLOAT } })], { to: { int: DataType.FLOAT16 } }), 8)
    const zero = g.model.graph.initializer.findIndex(({ name }) => name.startsWith('scalar'))
    const kept = g.model.graph.initializer[zero]!
    halve(g)
    g.model.graph.initializer[zero] = kept
    const path = join(await temporaryFolder(t), 'half.onnx')
    await writeFile(path, g.bytes())
    await compileSource({ path, origin: 'graph' }, await temporaryFolder(t), { foldBudget: 1, samples: [] })
  })

  test('a float32 network is left as it is', () => {
    const model = parseModel(network().bytes())
    assert.equal(widenFloat16(model), false)
    assert.deepEqual(serializeModel(model), network().bytes())
  })
})
