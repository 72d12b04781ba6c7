/** The thread: its protocol, its progress, how it is stopped, and what it takes with it. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { calibrateInThread, type CalibrationRequest } from '#src/calibration/calibration-thread.js'
import { completeOptions } from '#src/calibration/options.js'
import { StatisticsGraph } from '#src/calibration/statistics-graph.js'
import { readBatchNorms } from '#src/compiler/read-batch-norms.js'
import { indexGraph } from '#src/onnx/graph.js'
import { calibrateNet } from '../support/calibration.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'
import { seededNormal } from '../support/random.js'
import { safetensorsOf } from '../support/safetensors-file.js'

const IMAGES = 6
const SHAPE = [IMAGES, 2, 3, 3]

function network (): GraphBuilder {
  const g = new GraphBuilder()
  const x = g.input('x', ['n', 2, 3, 3])
  const y = g.relu(g.batchNorm(g.conv(x, { inputs: 2, outputs: 2, kernel: 3 }), 2, 'a'))
  return g.output(g.head(g.batchNorm(y, 2, 'b'), 2, 3), ['n', 3])
}

const pixels = (): Float32Array<ArrayBuffer> => {
  const normal = seededNormal(4)
  return Float32Array.from({ length: IMAGES * 18 }, () => normal())
}

const tensorFile = (values: Float32Array<ArrayBuffer> = pixels()) => safetensorsOf({
  x: { dtype: 'F32', shape: SHAPE, bytes: new Uint8Array(values.buffer) }
})

async function requestFor (t: TestContext, more: Partial<CalibrationRequest> = {}): Promise<CalibrationRequest> {
  const g = network()
  const path = join(await temporaryFolder(t), 'model.onnx')
  await writeFile(path, g.bytes())
  const { layers, ownBank } = readBatchNorms(indexGraph(g.model.graph))
  return {
    source: { path, origin: 'graph' },
    fingerprint: new StatisticsGraph(g.bytes(), new Set()).fingerprint,
    layers,
    base: ownBank,
    options: completeOptions({ minimumImages: 2, batchSize: 2 }),
    input: { name: 'x', type: 'float32', dims: [null, 2, 3, 3] },
    uploads: [{ name: 'images.safetensors', bytes: tensorFile() }],
    isTensors: true,
    imagePixels: 1000,
    budgetBytes: 2 ** 20,
    ...more
  }
}

const ignore = () => {}

// A thread takes most of a second to start: each of these asks for all that it can tell.
describe('a calibration in its thread', () => {
  it('comes to what it comes to here, to the bit, tells its progress, and takes large uploads with it', async (t) => {
    const controller = new AbortController()
    const file = new Uint8Array(tensorFile())
    const told: number[] = []
    const outcome = await calibrateInThread(await requestFor(t, { uploads: [{ name: 'a', bytes: file }] }), (share) => {
      told.push(share)
    }, controller.signal)
    controller.abort(new Error('too late'))
    const images = { x: { type: 'float32' as const, dims: SHAPE, data: pixels() } }
    const here = await calibrateNet({ model: network().bytes(), images }, { batchSize: 2 })
    assert.deepEqual(outcome.bank, here.bank)
    assert.deepEqual(outcome.moments, here.moments)
    assert.deepEqual(outcome.report, here.report)
    assert.deepEqual(outcome.images, { given: IMAGES, used: IMAGES, duplicates: 0, broken: 0, brokenImages: [] })
    assert.ok(outcome.decodeMs >= 0 && outcome.forwardMs > 0)
    assert.deepEqual(told, told.toSorted((a, b) => a - b))
    // 2 levels of 3 batches; tensors are read in one go, before any of it.
    assert.equal(told.length, 6)
    assert.ok(told[0]! > 0.3 && Math.abs(told.at(-1)! - 1) < 1e-9, told.join())
    assert.equal(file.length, 0, 'given away')
  })

  it('copies an upload that lies in a pool that others use; a pixel that is no number comes out with its layer', async (t) => {
    const values = pixels()
    values[40] = NaN
    const file = tensorFile(values)
    const pool = Buffer.alloc(file.length + 100, 7)
    pool.set(file, 50)
    const part = pool.subarray(50, 50 + file.length)
    const request = await requestFor(t, { uploads: [{ name: 'a', bytes: part }] })
    await assert.rejects(calibrateInThread(request, ignore), hasCode('CALIBRATION_NOT_FINITE', { layer: 'a' }))
    assert.equal(part.length, file.length)
    assert.deepEqual([pool[0], pool.at(-1)], [7, 7])
  })

  it('reads pictures by their rules; the first broken one ends a strict job, by name', async (t) => {
    const request = await requestFor(t, {
      isTensors: false,
      uploads: [{ name: 'a.png', bytes: new Uint8Array(Buffer.from('no picture')) }],
      options: completeOptions({ minimumImages: 2, strict: true }),
      rules: {
        size: { width: 3, height: 3 }, colour: 'rgb', layout: 'NCHW', mean: [0, 0, 0], std: [1, 1, 1], resize: { fit: 'fill', kernel: 'bilinear' }
      }
    })
    await assert.rejects(calibrateInThread(request, ignore), hasCode('CALIBRATION_IMAGE_BROKEN', { image: 'a.png' }))
  })

  it('fails for a model that is gone with an internal error, which keeps its message', async (t) => {
    const request = await requestFor(t, { source: { path: join(await temporaryFolder(t), 'gone.onnx'), origin: 'graph' } })
    await assert.rejects(calibrateInThread(request, ignore), (error: Error & { kind?: string }) => {
      return error.kind === 'internal' && /ENOENT/.test(error.message)
    })
  })
})

describe('stopping', () => {
  it('before the start starts nothing, and keeps the uploads', async (t) => {
    const reason = new Error('the server stops')
    const request = await requestFor(t)
    await assert.rejects(calibrateInThread(request, () => assert.fail('it runs'), AbortSignal.abort(reason)), reason)
    assert.ok(request.uploads[0]!.bytes.length > 0)
  })

  it('ends with the reason, at a batch', async (t) => {
    const controller = new AbortController()
    const reason = new Error('the server stops')
    const request = await requestFor(t, { options: completeOptions({ minimumImages: 2, batchSize: 1 }) })
    await assert.rejects(calibrateInThread(request, () => controller.abort(reason), controller.signal), reason)
  })
})
