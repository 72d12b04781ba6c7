/** Where the stem runs: on inference threads, or here once it has shown to be short. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StemRuns } from '#src/serving/recognising/stem-runs.js'
import { MOMENTS } from '#src/signature/features.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { gate } from '../support/gate.js'
import { readyModel } from '../support/served.js'
import type { Tensors } from '#src/ort/rows.js'
import type { Session } from '#src/ort/session.js'
import type { Job, JobResult } from '#src/runtime/job.js'

const model = readyModel(MANIFEST)
const { output, channels } = model.artefact.stem!
const VALUES = 3 * 32 * 32

const feeds = (rows: number): Tensors => {
  return { x: { type: 'float32', dims: [rows, 3, 32, 32], data: new Float32Array(rows * VALUES) } }
}

/** Means are twos from threads and fours from here: twice what the moments are filled with. */
function setUp ({ inferMs, isGone = false, opened = Promise.resolve() }: { inferMs: number, isGone?: boolean, opened?: Promise<void> }) {
  const seen = { inThreads: 0, opened: [] as string[], released: 0 }
  const moments = (rows: number, value: number): Tensors => {
    const size = MOMENTS.length * channels.length
    return { [output]: { type: 'float32', dims: [rows, size], data: new Float32Array(rows * size).fill(value) } }
  }
  const session = {
    run: async (read: Tensors) => moments(read.x!.dims[0]!, 2),
    release: async () => { seen.released++ }
  } as unknown as Session
  const stems = new StemRuns({
    runRows: 4,
    runBytes: 2 ** 30,
    pool: {
      submit: async (jobs: readonly Job[]) => jobs.map(({ rows }): JobResult => {
        seen.inThreads++
        return { outputs: moments(rows, 1), queueMs: 0, inferMs, startedAt: 0, runRows: rows }
      })
    },
    openHere: async (path) => {
      seen.opened.push(path)
      await opened
      if (isGone) throw new Error('no such file')
      return session
    }
  })
  /** Where the rows were seen. */
  const ask = async (rows: number): Promise<'threads' | 'here'> => {
    const features = await stems.features(model, feeds(rows), rows)
    assert.equal(features.length, rows)
    await new Promise(setImmediate)
    return features.every(([mean]) => mean === 2) ? 'threads' : 'here'
  }
  return { seen, stems, ask }
}

test('a stem that has been short runs here from then on, as far as it stays short', async () => {
  const { seen, ask, stems } = setUp({ inferMs: 0.05 })
  assert.equal(await ask(1), 'threads')
  assert.deepEqual(seen.opened, [model.artefact.stemPath])
  assert.deepEqual([await ask(1), await ask(2)], ['here', 'here'])
  assert.equal(seen.inThreads, 1)
  assert.equal(await ask(4), 'threads')
  await stems.close()
  assert.equal(seen.released, 1)
})

test('the rows of a run are counted, whatever they are the rows of', async () => {
  const { ask } = setUp({ inferMs: 0.15 })
  assert.equal(await ask(2), 'threads')
  assert.deepEqual([await ask(2), await ask(3)], ['here', 'threads'])
})

test('a stem that takes longer stays in its threads', async () => {
  const { seen, ask } = setUp({ inferMs: 0.2 })
  assert.deepEqual([await ask(1), await ask(1)], ['threads', 'threads'])
  assert.deepEqual(seen.opened, [])
})

test('where it cannot be opened here, it goes on in its threads, and is not tried again', async () => {
  const { seen, ask, stems } = setUp({ inferMs: 0.05, isGone: true })
  assert.deepEqual([await ask(1), await ask(1), await ask(1)], ['threads', 'threads', 'threads'])
  assert.equal(seen.opened.length, 1)
  await stems.close()
})

test('one that is opened as the server closes is released', async () => {
  const opening = gate()
  const { seen, ask, stems } = setUp({ inferMs: 0.05, opened: opening.pass() })
  assert.deepEqual([await ask(1), await ask(1)], ['threads', 'threads'])
  await stems.close()
  opening.open()
  await new Promise(setImmediate)
  assert.equal(seen.released, 1)
})
