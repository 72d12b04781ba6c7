import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { InferencePool } from '#src/runtime/pool.js'
import type { Job } from '#src/runtime/job.js'
import type { PoolOptions } from '#src/runtime/pool-options.js'
import { hasCode } from '../support/errors.js'
import { CRASH } from './fixtures/commands.js'

const SCRIPT = new URL('./fixtures/gated-worker.js', import.meta.url)
const MODEL = { id: 'm1', name: 'model', graphPath: '', bankInputs: [], layout: { layers: [], ports: [], length: 4 } }

/** A session of a bank alone adds 1000, and the bank itself 5. */
const DEDICATED = { ...MODEL, graphPath: '1000' }
const KEY = 'm1:bank5'

interface Harness {
  pool: InferencePool
  /** [0] is 1 when loads fail, 2 when only those of single banks do. */
  loads: Int32Array
  runs: Array<{ rows: number, isDedicated: boolean }>
  lost: number
  /** Lets this many runs through. */
  open (runs: number): void
}

async function harness (t: TestContext, options: Partial<PoolOptions> = {}): Promise<Harness> {
  const gate = new Int32Array(new SharedArrayBuffer(4))
  const loads = new Int32Array(new SharedArrayBuffer(4))
  const h: Harness = {
    pool: undefined!,
    loads,
    runs: [],
    lost: 0,
    open (runs) {
      Atomics.add(gate, 0, runs)
      Atomics.notify(gate, 0)
    }
  }
  h.pool = new InferencePool({
    workers: 1,
    queueRows: 100,
    runRowsMax: 8,
    bankBytesMax: 1000,
    runMsMax: 60_000,
    onDedicatedLost: () => { h.lost++ },
    observer: { onRun: ({ rows, isDedicated }) => h.runs.push({ rows, isDedicated }) },
    script: { url: SCRIPT, workerData: { gate, loads } },
    ...options
  })
  await h.pool.load(MODEL)
  t.after(async () => {
    h.open(1000)
    await h.pool.close()
  })
  return h
}

function job (x: number, turnOf = 'a', bank = 5): Job {
  const shared = new Float64Array(new SharedArrayBuffer(16))
  shared.fill(bank)
  return {
    turnOf,
    model: MODEL,
    bankKey: `m1:bank${bank}`,
    bank: shared,
    rows: 1,
    feeds: { x: { type: 'float32', dims: [1, 1], data: Float32Array.of(x) } },
    wanted: ['y'],
    runKey: `bank${bank}`
  }
}

async function ask (h: Harness, ...jobs: Job[]): Promise<number[]> {
  const results = await h.pool.submit(jobs)
  return results.map(({ outputs }) => (outputs.y!.data as Float32Array)[0]!)
}

async function sessionsOf (h: Harness): Promise<number> {
  const [result] = await h.pool.submit([job(0, 'counting', 1)])
  return (result!.outputs.sessions!.data as Float32Array)[0]!
}

test('a bank runs on its own session from when all workers have it until it is taken away', async (t) => {
  const h = await harness(t, { workers: 2 })
  h.open(100)
  assert.deepEqual(await ask(h, job(1)), [6])
  await h.pool.dedicated.add(KEY, DEDICATED)
  assert.deepEqual(await ask(h, job(1), job(2), job(3, 'b')), [1001, 1002, 1003])
  assert.deepEqual(await ask(h, job(1, 'c', 7)), [8], 'other banks go on as before')
  assert.equal(await sessionsOf(h), 2)
  await h.pool.dedicated.remove(KEY)
  assert.deepEqual(await ask(h, job(1)), [6])
  assert.equal(await sessionsOf(h), 1)
  await h.pool.dedicated.add(KEY, { ...DEDICATED, graphPath: '2000' })
  assert.deepEqual(await ask(h, job(1)), [2001], 'a later one of the same bank is another')
})

test('what came in before stays on the session it was to run on, and shares no run with what came after', async (t) => {
  const h = await harness(t)
  const running = ask(h, job(1))
  const before = [ask(h, job(2)), ask(h, job(3))]
  const adding = h.pool.dedicated.add(KEY, DEDICATED)
  const during = ask(h, job(4))
  h.open(2)
  assert.deepEqual([await running, ...await Promise.all(before), await during], [[6], [7], [8], [9]])
  await adding
  const blocking = ask(h, job(0, 'b', 1))
  const own = [ask(h, job(5)), ask(h, job(6))]
  let isRemoved = false
  const removing = h.pool.dedicated.remove(KEY).then(() => { isRemoved = true })
  const after = ask(h, job(7))
  h.open(1)
  await blocking
  assert.equal(isRemoved, false, 'two requests still need the session')
  h.open(2)
  assert.deepEqual([...await Promise.all(own), await after], [[1005], [1006], [12]])
  await removing
  assert.deepEqual(h.runs.slice(2), [
    { rows: 1, isDedicated: false }, { rows: 2, isDedicated: true }, { rows: 1, isDedicated: false }
  ])
})

test('a session opens while nothing waits, one worker after the other; requests run meanwhile', async (t) => {
  const h = await harness(t, { workers: 2 })
  const held = ask(h, job(1))
  const adding = h.pool.dedicated.add(KEY, DEDICATED)
  h.open(1)
  assert.deepEqual(await held, [6])
  await adding
  h.open(1)
  assert.deepEqual(await ask(h, job(1)), [1001])
})

test('a session that cannot be opened is on no worker, and the bank runs as before', async (t) => {
  const h = await harness(t, { workers: 2 })
  h.open(100)
  Atomics.store(h.loads, 0, 1)
  await assert.rejects(h.pool.dedicated.add(KEY, DEDICATED), hasCode('TEST_FAILED'))
  Atomics.store(h.loads, 0, 0)
  assert.deepEqual(await ask(h, job(1)), [6])
  assert.equal(await sessionsOf(h), 1)
})

test('a new thread in place of one that ended gets the session too', async (t) => {
  const h = await harness(t)
  h.open(100)
  await h.pool.dedicated.add(KEY, DEDICATED)
  await assert.rejects(ask(h, job(CRASH)), hasCode('WORKER_CRASHED'))
  assert.deepEqual(await ask(h, job(1)), [1001])
  assert.equal(h.lost, 0)
})

test('a new thread that cannot open it does without, and says so', async (t) => {
  const h = await harness(t)
  h.open(100)
  await h.pool.dedicated.add(KEY, DEDICATED)
  Atomics.store(h.loads, 0, 2)
  await assert.rejects(ask(h, job(CRASH)), hasCode('WORKER_CRASHED'))
  assert.deepEqual(await ask(h, job(1)), [6])
  assert.equal(h.lost, 2, 'the run was tried on a second thread')
})

test('the express thread has none: it runs the model\'s own', async (t) => {
  const h = await harness(t, { expressThreads: 1 })
  await h.pool.dedicated.add(KEY, DEDICATED)
  const flood = h.pool.submit(Array.from({ length: 70 }, (_, at) => ({ ...job(at, 'flood', 1), runKey: undefined })))
  while (h.pool.workers.ready < 2) await new Promise((resolve) => setImmediate(resolve))
  const quiet = ask(h, job(1))
  assert.equal(h.pool.workers.busy, 2)
  h.open(100)
  assert.deepEqual(await quiet, [6])
  await flood
})
