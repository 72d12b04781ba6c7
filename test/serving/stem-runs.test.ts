/** Where the stem runs: on inference threads, or here where it is a small convolution. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StemRuns } from '#src/serving/recognising/stem-runs.js'
import { COST_MAX, openConvolutionMoments, type Convolution } from '#src/signature/convolution-moments.js'
import { MOMENTS } from '#src/signature/features.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { hasCode } from '../support/errors.js'
import { readyModel } from '../support/served.js'
import type { Tensors } from '#src/ort/rows.js'
import type { Job, JobResult } from '#src/runtime/job.js'
import type { ReadyModel } from '#src/serving/model-states.js'

const { stem } = readyModel(MANIFEST).artefact
const channels = stem!.channels.length

/** The average over three channels, everywhere. */
const AVERAGE: Convolution = {
  inputChannels: 3,
  kernel: [1, 1],
  strides: [1, 1],
  padding: [0, 0, 0, 0],
  weights: new Float32Array(3).fill(1 / 3),
  biases: new Float32Array(1)
}

const modelOf = (convolution?: Convolution) => {
  return readyModel(MANIFEST, { stem: { ...stem!, ...(convolution === undefined ? {} : { convolution }) } })
}

/** Each row is one number throughout, its own. */
function feedsOf (rows: number, dims = [3, 32, 32]): Tensors {
  const size = dims.reduce((product, dim) => product * dim, 1)
  return { x: { type: 'float32', dims: [rows, ...dims], data: Float32Array.from({ length: rows * size }, (_, at) => Math.floor(at / size)) } }
}

/** Means are of the row's number from here, and -1 from threads. */
function setUp () {
  const seen = { inThreads: [] as number[] }
  const stems = new StemRuns({
    runRows: 4,
    runBytes: 2 ** 30,
    pool: {
      submit: async (jobs: readonly Job[]) => jobs.map(({ rows }): JobResult => {
        seen.inThreads.push(rows)
        const size = MOMENTS.length * channels
        const moments = new Float32Array(rows * size).fill(-0.5)
        return { outputs: { moments: { type: 'float32', dims: [rows, size], data: moments } }, queueMs: 0, inferMs: 1, startedAt: 0, runRows: rows }
      })
    }
  })
  const ask = async (model: ReadyModel, rows: number, dims?: number[]) => {
    return (await stems.features(model, feedsOf(rows, dims), rows)).map(([mean]) => Math.round(mean!))
  }
  return { seen, stems, ask }
}

test('a small convolution is taken here, row by row, and hands nothing over', async () => {
  const { seen, ask } = setUp()
  const model = modelOf(AVERAGE)
  assert.deepEqual(await ask(model, 3), [0, 1, 2])
  assert.deepEqual(await ask(model, 1), [0])
  assert.deepEqual(seen.inThreads, [])
})

test('what is no convolution goes to the threads, in runs of so many rows', async () => {
  const { seen, ask } = setUp()
  assert.deepEqual(await ask(modelOf(), 6), [-1, -1, -1, -1, -1, -1])
  assert.deepEqual(seen.inThreads, [4, 2])
})

test('so does one of too many multiplications, which rows and the size of images decide', async () => {
  const { seen, ask } = setUp()
  const model = modelOf(AVERAGE)
  const most = Math.floor(COST_MAX / openConvolutionMoments(AVERAGE)!.costOf([3, 32, 32]))
  assert.equal((await ask(model, most)).at(-1), most - 1)
  assert.deepEqual(seen.inThreads, [])
  assert.equal((await ask(model, most + 1)).at(-1), -1)
  assert.deepEqual(await ask(model, 1, [3, 1000, 1000]), [-1])
  assert.equal(seen.inThreads.at(-1), 1)
})

test('images that the convolution cannot take are for ONNX Runtime to refuse', async () => {
  const { seen, ask } = setUp()
  await ask(modelOf({ ...AVERAGE, kernel: [33, 33], weights: new Float32Array(3 * 33 * 33) }), 1)
  await ask(modelOf(AVERAGE), 1, [4, 32, 32])
  assert.deepEqual(seen.inThreads, [1, 1])
})

test('a network without a stem cannot choose', async () => {
  const { stems } = setUp()
  const { stem: _served, ...without } = modelOf(AVERAGE)
  await assert.rejects(stems.features(without, feedsOf(1), 1), hasCode('AUTO_UNSUPPORTED'))
})
