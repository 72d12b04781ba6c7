/** A model that is no classifier and makes no pictures: two inputs, three outputs of several types, two domains. */
import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import { seededNormal } from '#src/compiler/sample-inputs.js'
import { DataType, readFloat32 } from '#src/onnx/tensor.js'
import { openSession, type PlainTensor } from '#src/ort/session.js'
import { temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'
import { writeModels } from '../support/models-folder.js'
import { ADMIN, startService, type Service } from '../support/service.js'
import type { TensorsManifest } from '#src/models/manifest.js'

const CHANNELS = 8

const MANIFEST: TensorsManifest = {
  format: 1,
  name: 'finder',
  title: 'Finder',
  graph: 'model.onnx',
  task: 'tensors',
  inputs: { image: { shape: [1, 3, 12, 12] }, scale: { shape: [1, 1] } },
  defaultDomain: 'plain'
}

/** A mask per pixel, its best class, and a score that the second input scales. */
function finder (): GraphBuilder {
  const g = new GraphBuilder({ opset: 17 })
  const image = g.input('image', ['n', 3, 'h', 'w'])
  const scale = g.input('scale', ['n', 1])
  let x = g.relu(g.batchNorm(g.conv(image, { inputs: 3, outputs: CHANNELS, kernel: 3 }), CHANNELS, 'bn'))
  x = g.conv(x, { inputs: CHANNELS, outputs: 4, kernel: 1, bias: true })
  const pooled = g.node('Flatten', [g.node('GlobalAveragePool', [x])])
  g.output(x, ['n', 4, 'h', 'w'])
  g.output(g.node('ArgMax', [x], { axis: { int: 1 }, keepdims: { int: 0 } }), ['n', 'h', 'w'], DataType.INT64)
  return g.output(g.node('Mul', [pooled, scale]), ['n', 4])
}

describe('a model for tensors', () => {
  let service: Service
  const graph = finder()
  const outputs = graph.model.graph.output.map(({ name }) => name)

  before(async () => {
    const folder = await temporaryFolder({ after: after as TestContext['after'] })
    const modelsDir = await writeModels(folder, [{ manifest: MANIFEST, graph: graph.bytes() }])
    service = await startService({ BANKSWITCH_MODELS_DIR: modelsDir })
  })
  after(() => service.close())

  function feeds (rows: number, side = 12): Record<string, PlainTensor> {
    const normal = seededNormal(rows)
    const tensor = (dims: number[]) => ({
      type: 'float32' as const, dims, data: Float32Array.from({ length: dims.reduce((a, b) => a * b) }, normal)
    })
    return { image: tensor([rows, 3, side, side]), scale: tensor([rows, 1]) }
  }

  const infer = (given: Record<string, PlainTensor>, domain: string) => service.app.inject({
    method: 'POST',
    url: '/v2/models/finder/infer',
    headers: { 'x-domain': domain },
    payload: {
      inputs: Object.entries(given).map(([name, { dims, data }]) => {
        return { name, datatype: 'FP32', shape: dims, data: Array.from(data as Float32Array) }
      })
    }
  })

  async function agrees (bytes: Uint8Array, domain: string, given: Record<string, PlainTensor>): Promise<void> {
    const response = await infer(given, domain)
    assert.equal(response.statusCode, 200, response.payload)
    const session = await openSession(bytes, { optimization: 'disabled' })
    const expected = await session.run(given)
    await session.release()
    const answered = response.json().outputs as Array<{ name: string, datatype: string, shape: number[], data: number[] }>
    assert.deepEqual(answered.map(({ name }) => name), outputs)
    assert.deepEqual(answered.map(({ datatype }) => datatype), ['FP32', 'INT64', 'FP32'])
    for (const { name, shape, data } of answered) {
      assert.deepEqual(shape, expected[name]!.dims)
      const wanted = Array.from(expected[name]!.data as Float32Array, Number)
      assert.ok(data.every((value, at) => Math.abs(value - wanted[at]!) <= 1e-4), name)
    }
  }

  it('answers all outputs over v2, under its own bank, rows and sizes as they come', async () => {
    await agrees(graph.bytes(), 'plain', feeds(1))
    await agrees(graph.bytes(), 'plain', feeds(3, 9))
  })

  it('answers under another bank as the graph with those statistics does', async () => {
    const mean = Array.from({ length: CHANNELS }, (_, channel) => channel / 10)
    const variance = Array.from({ length: CHANNELS }, (_, channel) => 1 + channel)
    const registered = await service.app.inject({
      method: 'PUT', url: '/admin/models/finder/domains/night', headers: ADMIN, payload: { layers: { bn: { mean, variance } } }
    })
    assert.equal(registered.statusCode, 201, registered.payload)
    const other = finder()
    for (const [name, values] of [['bn.running_mean', mean], ['bn.running_var', variance]] as const) {
      readFloat32(other.model.graph.initializer.find((tensor) => tensor.name === name)!).set(values)
    }
    await agrees(other.bytes(), 'night', feeds(2))
  })

  it('is described with its inputs, and takes part in the protocol\'s metadata', async () => {
    const { task, inputs, input, output } = (await service.app.inject('/v1/models/finder')).json()
    assert.deepEqual({ task, inputs, input, output }, { task: 'tensors', inputs: MANIFEST.inputs, input: undefined, output: undefined })
    const metadata = (await service.app.inject('/v2/models/finder')).json()
    assert.deepEqual(metadata.inputs.map(({ name }: { name: string }) => name), ['image', 'scale'])
    assert.equal(metadata.outputs.length, 3)
  })

  it('is nothing for predict, which says what it knows', async () => {
    const response = await service.app.inject({
      method: 'POST', url: '/v1/models/finder/predict', headers: { 'content-type': 'image/png' }, payload: Buffer.from('x')
    })
    assert.equal(response.statusCode, 400)
    const { code, error } = response.json()
    assert.equal(code, 'TASK_MISMATCH')
    assert.match(error, /"tensors".*classification, image-to-image.*\/v2\/models\/finder\/infer/)
  })

  it('takes no preprocessing, and no calibration from one of its inputs alone', async () => {
    const layers = { bn: { mean: Array(CHANNELS).fill(0), variance: Array(CHANNELS).fill(1) } }
    const put = await service.app.inject({
      method: 'PUT', url: '/admin/models/finder/domains/day', headers: ADMIN, payload: { layers, preprocessing: { colour: 'grey' } }
    })
    assert.equal(put.json().code, 'PREPROCESSING_INVALID', put.payload)
  })
})
