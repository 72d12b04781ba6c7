import assert from 'node:assert/strict'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { holdsItsData } from '#src/compiler/invariants.js'
import { externalLocations, loadExternalData } from '#src/compiler/source/external-data.js'
import { sha256File } from '#src/base/digest.js'
import { prepareSource } from '#src/compiler/pipeline.js'
import { sourceDigests } from '#src/compiler/source/model-source.js'
import {
  AttributeProtoSchema, FunctionProtoSchema, GraphProtoSchema, NodeProtoSchema, SparseTensorProtoSchema, StringStringEntryProtoSchema,
  TensorProtoSchema, TrainingInfoProtoSchema, type TensorProto
} from '#src/onnx/generated/onnx_pb.js'
import { parseModel, serializeModel, type OnnxModel } from '#src/onnx/model.js'
import { compileExactly } from '../support/compile.js'
import { hasCode } from '../support/errors.js'
import { end, picture } from '../support/exact.js'
import { temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'
import type { Preparation } from '#src/compiler/compilation.js'

function network (): GraphBuilder {
  const g = new GraphBuilder()
  end(g, g.relu(g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 16, kernel: 3 }), 16, 'bn')), 16)
  return g
}

/** Moves every initializer out; returns what the data file must hold. */
function moveOut (model: OnnxModel, entries: (offset: number, length: number) => Record<string, string>): Buffer {
  const chunks: Uint8Array[] = []
  let offset = 0
  for (const tensor of model.graph.initializer) {
    chunks.push(tensor.rawData)
    tensor.externalData = Object.entries(entries(offset, tensor.rawData.length)).map(([key, value]) => {
      return create(StringStringEntryProtoSchema, { key, value })
    })
    offset += tensor.rawData.length
    tensor.dataLocation = 1
    tensor.rawData = new Uint8Array(0)
  }
  return Buffer.concat(chunks)
}

const sliceOf = (location: string) => (offset: number, length: number) => ({
  location, offset: String(offset), length: String(length)
})

describe('external data', () => {
  test('is read from beside the model, and the model computes the same', async (t) => {
    const folder = await temporaryFolder(t)
    const g = network()
    const whole = g.bytes()
    await mkdir(join(folder, 'data'))
    await writeFile(join(folder, 'data/weights'), moveOut(g.model, sliceOf('data/weights')))
    const path = join(folder, 'model.onnx')
    await writeFile(path, g.bytes())
    assert.deepEqual(await sourceDigests({ path, origin: 'graph' }), [
      await sha256File(path), await sha256File(join(folder, 'data/weights'))
    ])
    const { bytes, tolerance, changedBy } = await prepareSource({ path, origin: 'graph' })
    assert.equal(tolerance, 1e-4)
    assert.deepEqual(changedBy, ['load'])
    const [loaded, original] = [parseModel(bytes), parseModel(whole)]
    assert.deepEqual(externalLocations(loaded), [])
    assert.deepEqual(
      loaded.graph.initializer.map(({ rawData }) => Buffer.from(rawData)),
      original.graph.initializer.map(({ rawData }) => Buffer.from(rawData))
    )
    await compileExactly(t, bytes, { foldBudget: 1 })
  })

  test('without offset and length it is the whole file', async (t) => {
    const folder = await temporaryFolder(t)
    const g = network()
    const [first, ...others] = g.model.graph.initializer
    const data = Buffer.from(first!.rawData)
    moveOut(g.model, () => ({ location: 'first' }))
    g.model.graph.initializer = [first!]
    await writeFile(join(folder, 'first'), data)
    await loadExternalData(g.model, folder)
    assert.deepEqual(Buffer.from(first!.rawData), data)
    assert.ok(others.length > 0)
  })

  for (const [title, location] of [
    ['an absolute path', '/etc/hostname'], ['a path out of the folder', '../secret'], ['a link out of the folder', 'link'],
    ['a folder', 'folder'], ['nothing', ''], ['a file that is not there', 'missing'], ['the folder itself', '.']
  ] as const) {
    test(`refuses ${title}`, async (t) => {
      const outside = await temporaryFolder(t)
      const folder = join(outside, 'model')
      await mkdir(join(folder, 'folder'), { recursive: true })
      await writeFile(join(outside, 'secret'), Buffer.alloc(10_000))
      await symlink('../secret', join(folder, 'link'))
      const { model } = network()
      moveOut(model, sliceOf(location))
      await assert.rejects(loadExternalData(model, folder), hasCode('ONNX_EXTERNAL_DATA'))
    })
  }

  for (const [title, entries] of [
    ['a length beyond the end', { offset: '0', length: '10001' }], ['an offset beyond the end', { offset: '10001' }],
    ['a negative offset', { offset: '-1' }], ['words', { offset: 'ten' }], ['2^60', { length: String(2n ** 60n) }]
  ] as Array<[string, Record<string, string>]>) {
    test(`refuses ${title} of the file`, async (t) => {
      const folder = await temporaryFolder(t)
      await writeFile(join(folder, 'data'), Buffer.alloc(10_000))
      const { model } = network()
      const attempt = async () => {
        moveOut(model, () => ({ location: 'data', ...entries }))
        await loadExternalData(model, folder)
      }
      await assert.rejects(attempt(), hasCode('ONNX_EXTERNAL_DATA'))
    })
  }
})

describe('a tensor that names a file', () => {
  const sparse = (values: TensorProto) => create(SparseTensorProtoSchema, { values, dims: [4n] })
  const node = (attribute: Partial<Omit<ReturnType<typeof create<typeof AttributeProtoSchema>>, '$typeName' | '$unknown'>>) => {
    return create(NodeProtoSchema, { opType: 'Constant', output: ['c'], attribute: [create(AttributeProtoSchema, { name: 'value', ...attribute })] })
  }
  const places: Array<[title: string, put: (model: OnnxModel, tensor: TensorProto) => unknown]> = [
    ['an initializer', ({ graph }, tensor) => graph.initializer.push(tensor)],
    ['the values of a sparse initializer', ({ graph }, tensor) => graph.sparseInitializer.push(sparse(tensor))],
    ['the indices of a sparse initializer', ({ graph }, tensor) => {
      graph.sparseInitializer.push(create(SparseTensorProtoSchema, { indices: tensor }))
    }],
    ['an attribute', ({ graph }, t) => graph.node.push(node({ t }))],
    ['a list behind a tensor', ({ graph }, tensor) => graph.node.push(node({ t: create(TensorProtoSchema), tensors: [tensor] }))],
    ['a sparse attribute', ({ graph }, tensor) => graph.node.push(node({ sparseTensor: sparse(tensor) }))],
    ['a list of sparse ones', ({ graph }, tensor) => graph.node.push(node({ sparseTensors: [sparse(tensor)] }))],
    ['a nested graph', ({ graph }, tensor) => {
      graph.node.push(node({ graphs: [create(GraphProtoSchema, { sparseInitializer: [sparse(tensor)] })] }))
    }],
    ['a function', ({ functions }, t) => functions.push(create(FunctionProtoSchema, { name: 'f', node: [node({ t })] }))],
    ['the default of a function\'s attribute', ({ functions }, t) => {
      functions.push(create(FunctionProtoSchema, { name: 'f', attributeProto: [create(AttributeProtoSchema, { name: 'v', t })] }))
    }],
    ['what training starts from', ({ trainingInfo }, tensor) => {
      trainingInfo.push(create(TrainingInfoProtoSchema, { initialization: create(GraphProtoSchema, { initializer: [tensor] }) }))
    }],
    ['what training does', ({ trainingInfo }, t) => {
      trainingInfo.push(create(TrainingInfoProtoSchema, { algorithm: create(GraphProtoSchema, { node: [node({ t })] }) }))
    }]
  ]
  for (const [title, put] of places) {
    test(`is found in ${title}: refused elsewhere, read beside the model`, async (t) => {
      const outside = await temporaryFolder(t)
      const folder = join(outside, 'model')
      await mkdir(folder)
      const secret = Buffer.from('a secret of sixteen bytes'.slice(0, 16))
      for (const path of [join(outside, 'secret'), join(folder, 'data')]) await writeFile(path, secret)
      const modelWith = (location: string) => {
        const externalData = [create(StringStringEntryProtoSchema, { key: 'location', value: location })]
        const { model } = network()
        put(model, create(TensorProtoSchema, { name: 'c', dims: [4n], dataType: 1, dataLocation: 1, externalData }))
        return parseModel(serializeModel(model))
      }
      await assert.rejects(loadExternalData(modelWith('../secret'), folder), hasCode('ONNX_EXTERNAL_DATA'))
      const model = modelWith('data')
      assert.equal(holdsItsData.holds({ model } as Preparation), false)
      assert.deepEqual(externalLocations(model), ['data'])
      await loadExternalData(model, folder)
      assert.equal(holdsItsData.holds({ model } as Preparation), true)
      assert.ok(Buffer.from(serializeModel(model)).includes(secret))
    })
  }

  test('is not looked for in fields that are not known: they are refused where they could hold one', async (t) => {
    const folder = await temporaryFolder(t)
    const { model } = network()
    model.graph.$unknown = [{ no: 14, wireType: 2, data: Buffer.of(0) }, { no: 90, wireType: 0, data: Buffer.of(1) }]
    await loadExternalData(model, folder)
    model.graph.node[0]!.$unknown = [{ no: 90, wireType: 2, data: Buffer.of(0) }]
    await assert.rejects(loadExternalData(model, folder), hasCode('ONNX_UNSUPPORTED', { received: 'onnx.NodeProto, field 90' }))
  })
})
