/** What runs when, with a pool whose workers the test holds. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Shadows, WAITING_ROWS_MAX } from '#src/serving/answering/shadows.js'
import type { Group } from '#src/serving/answering/inference.js'
import type { ReadyModel } from '#src/serving/model-states.js'
import type { Tensors } from '#src/ort/rows.js'
import type { Job } from '#src/runtime/job.js'

const model = {
  entry: { manifest: { name: 'signs', task: 'classification', output: { name: 'scores' } } },
  artefact: { proof: { isRowInvariant: true }, fingerprint: 'f', outputs: [], layers: [] },
  served: { id: 'id' },
  memory: { keepsOf: ({ input }: Tensors) => input?.dims[1] === 3 ? 'nothing' : 'everything' }
} as unknown as ReadyModel

const versions = [1, 2].map((version) => ({ version, digest: `digest ${version}`, fingerprint: 'f' }))
const record = { domain: 'night', revision: 1, active: 1, previous: [], versions, shadow: { version: 2, percent: 50 } }

const tensors = (name: string, rows: number, fill: number, width = 2): Tensors => {
  return { [name]: { type: 'float32', dims: [rows, width], data: new Float32Array(width * rows).fill(fill) } }
}

function setUp ({ ready = 2, draw = 0 } = {}) {
  const load = { rows: 0, busy: 0, isRemoved: false }
  const runs: Array<{ job: Job, answer (outputs: Tensors): void, fail (error: Error): void }> = []
  const started: Array<() => void> = []
  const shadows = new Shadows({
    pool: {
      get backlog () { return { rows: load.rows, domains: 0, drainMs: 0 } },
      get workers () { return { ready, busy: load.busy, banks: 0, bankBytes: 0 } },
      submit: ([job]: Job[]) => new Promise((resolve, reject) => {
        runs.push({ job: job!, answer: (outputs) => resolve([{ outputs }]), fail: reject })
        started.shift()?.()
      })
    },
    store: { domain: () => load.isRemoved ? undefined : record },
    banks: { get: async () => ({}) },
    metrics: { countShadow () {} },
    runRows: 4
  } as unknown as ConstructorParameters<typeof Shadows>[0], () => draw)
  const offer = (rows: number, version = 1, width = 2) => {
    const resolved = { record, version: versions[version - 1] }
    shadows.offer(model, { resolved, feeds: tensors('input', rows, 1, width), rows } as unknown as Group, tensors('scores', rows, 1))
  }
  /** Settles with the run that starts next. */
  const nextRun = async () => {
    if (runs.length === 0) await new Promise<void>((resolve) => { started.push(resolve) })
    return runs.shift()!
  }
  const report = () => shadows.report('signs', 'night', 2)
  return { load, shadows, offer, nextRun, report, runs }
}

test('rows of the active version run once more under the candidate, in parts, one run at a time', async () => {
  const { offer, nextRun, report, runs, shadows } = setUp()
  offer(6)
  const first = await nextRun()
  assert.deepEqual([first.job.rows, first.job.bankKey, shadows.backlog.rows], [4, 'id:digest 2', 2])
  assert.equal(runs.length, 0)
  first.answer(tensors('scores', 4, 1))
  const second = await nextRun()
  assert.equal(second.job.rows, 2)
  assert.equal(report()!.comparedRows, 4)
  second.answer(tensors('scores', 2, 3))
  offer(1)
  await nextRun()
  const { comparedRows, largestRelativeDifference, active } = report()!
  assert.deepEqual([comparedRows, largestRelativeDifference, active], [6, 2, 1])
})

test('large rows run one by one', async () => {
  const { offer, nextRun, shadows } = setUp()
  offer(2, 1, 3)
  assert.deepEqual([(await nextRun()).job.rows, shadows.backlog.rows], [1, 1])
})

test('nothing runs while requests wait or only one worker is free; it runs as soon as that is over', async () => {
  const { load, offer, nextRun, runs, shadows } = setUp()
  load.rows = 1
  offer(1)
  load.rows = 0
  load.busy = 1
  shadows.pump()
  assert.deepEqual([runs.length, shadows.backlog.rows], [0, 1])
  load.busy = 0
  shadows.pump()
  assert.equal((await nextRun()).job.rows, 1)
})

test('a single worker is used when it is idle', async () => {
  const { load, offer, nextRun, shadows } = setUp({ ready: 1 })
  load.busy = 1
  offer(1)
  assert.equal(shadows.backlog.rows, 1)
  load.busy = 0
  shadows.pump()
  assert.equal((await nextRun()).job.rows, 1)
})

test('what finds no room is dropped and counted; memory stays bounded', () => {
  const { load, offer, report, shadows } = setUp()
  load.rows = 1
  offer(WAITING_ROWS_MAX + 10)
  assert.equal(shadows.backlog.rows, WAITING_ROWS_MAX)
  assert.equal(report()!.droppedRows, 10)
  assert.ok(shadows.backlog.bytes <= WAITING_ROWS_MAX * 16)
})

test('a run that fails is counted, and the next one goes', async () => {
  const { offer, nextRun, report } = setUp()
  offer(1)
  const run = await nextRun()
  run.fail(new Error('broken'))
  offer(2)
  assert.equal((await nextRun()).job.rows, 2)
  assert.equal(report()!.failedRows, 1)
})

test('what ends after its domain was removed is not counted', async () => {
  const { load, offer, nextRun, report } = setUp()
  for (const isFailing of [false, true]) {
    offer(1)
    const { answer, fail } = await nextRun()
    load.isRemoved = true
    if (isFailing) fail(new Error('broken'))
    else answer(tensors('scores', 1, 1))
    await new Promise((resolve) => { setImmediate(resolve) })
    assert.equal(report(), undefined)
    load.isRemoved = false
  }
  offer(1)
  ;(await nextRun()).answer(tensors('scores', 1, 1))
})

test('rows beyond the share, and answers of other versions, are left alone', () => {
  const outside = setUp({ draw: 0.5 })
  outside.load.rows = 1
  outside.offer(1)
  const other = setUp()
  other.load.rows = 1
  other.offer(1, 2)
  assert.deepEqual([outside.shadows.backlog.rows, other.shadows.backlog.rows], [0, 0])
  const inside = setUp({ draw: 0.499 })
  inside.load.rows = 1
  inside.offer(1)
  assert.equal(inside.shadows.backlog.rows, 1)
})
