import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { InferencePool } from '#src/runtime/pool.js'
import type { Job } from '#src/runtime/job.js'
import type { PoolObserver, PoolOptions } from '#src/runtime/pool-options.js'
import { hasCode } from '../support/errors.js'
import { CRASH, FAIL } from './fixtures/commands.js'

const MODEL = { id: 'm1', name: 'model', graphPath: '', bankInputs: [], layout: { layers: [], ports: [], length: 4 } }
const SCRIPT = new URL('./fixtures/gated-worker.js', import.meta.url)

interface Harness {
  pool: InferencePool
  /** Lets this many runs through. */
  open (runs: number): void
  runs: Array<{ rows: number, requests: number }>
  gone: string[]
  dropped: number
  stuck: number[]
}

/** Long enough for what is not stuck, on a busy machine. */
const RUN_MS = 400

interface HarnessOptions extends Partial<PoolOptions> {
  /** [0] counts loads that fail. */
  loads?: Int32Array
}

async function harness (
  t: TestContext, { loads = new Int32Array(new SharedArrayBuffer(4)), ...options }: HarnessOptions = {}
): Promise<Harness> {
  const gate = new Int32Array(new SharedArrayBuffer(4))
  const result = { runs: [], gone: [], dropped: 0, stuck: [] } as unknown as Harness
  const observer: PoolObserver = {
    onRun: ({ rows, requests }) => result.runs.push({ rows, requests }),
    onWorkerGone: (error) => result.gone.push(error.message),
    onWorkerStuck: (stuck) => result.stuck.push(stuck),
    onDropped: () => result.dropped++
  }
  result.pool = new InferencePool({
    workers: 1,
    queueRows: 100,
    runRowsMax: 8,
    bankBytesMax: 1000,
    runMsMax: 60_000,
    ...options,
    observer,
    script: { url: SCRIPT, workerData: { gate, loads } }
  })
  result.open = (runs) => {
    Atomics.add(gate, 0, runs)
    Atomics.notify(gate, 0)
  }
  await result.pool.load(MODEL)
  t.after(async () => {
    result.open(1000)
    await result.pool.close()
  })
  return result
}

function job (values: number[], bank = 0, over: Partial<Job> = {}): Job {
  const shared = new Float64Array(new SharedArrayBuffer(16))
  shared.fill(bank)
  return {
    turnOf: 'a',
    model: MODEL,
    bankKey: `m1:bank${bank}`,
    bank: shared,
    rows: values.length,
    feeds: { x: { type: 'float32', dims: [values.length, 1], data: Float32Array.from(values) } },
    wanted: ['y'],
    runKey: `bank${bank}`,
    ...over
  }
}

const submit = async (h: Harness, domain: string, one: Job, signal?: AbortSignal) => {
  const [result] = await h.pool.submit([{ ...one, turnOf: domain }], signal)
  return Array.from(result!.outputs.y!.data as Float32Array)
}

describe('InferencePool', () => {
  it('lets waiting rows of one bank share a run and gives each request its own rows', async (t) => {
    const h = await harness(t)
    const first = submit(h, 'a', job([1]))
    const rest = [submit(h, 'a', job([2, 3])), submit(h, 'a', job([4])), submit(h, 'a', job([5, 6, 7]))]
    h.open(2)
    assert.deepEqual(await first, [1])
    assert.deepEqual(await Promise.all(rest), [[2, 3], [4], [5, 6, 7]])
    assert.deepEqual(h.runs, [{ rows: 1, requests: 1 }, { rows: 6, requests: 3 }])
  })

  it('never mixes banks, and switches between them', async (t) => {
    const h = await harness(t)
    h.open(100)
    const bankOf = (at: number) => at % 2 === 0 ? 100 : 200
    const requests = Array.from({ length: 20 }, (_, at) => submit(h, `d${at % 2}`, job([at], bankOf(at))))
    assert.deepEqual(await Promise.all(requests), requests.map((_, at) => [at + bankOf(at)]))
  })

  it('serves a quiet domain before the rest of a flood', async (t) => {
    const h = await harness(t)
    const order: string[] = []
    const track = (name: string, answer: Promise<unknown>) => answer.then(() => order.push(name))
    const alone = () => job([0], 1, { runKey: undefined })
    const flood = Array.from({ length: 21 }, () => track('flood', submit(h, 'flood', alone())))
    const quiet = track('quiet', submit(h, 'quiet', job([0], 2)))
    h.open(100)
    await Promise.all([quiet, ...flood])
    assert.ok(order.indexOf('quiet') <= 2, order.join())
  })

  it('serves a domain with little waiting on the express thread, beside a flood, and nothing else there', async (t) => {
    const h = await harness(t, { workers: 1, expressThreads: 1 })
    const parts = Array.from({ length: 70 }, (_, at) => job([at], 1, { turnOf: 'flood', runKey: undefined }))
    assert.deepEqual([h.pool.workers.wanted, h.pool.workers.ready], [1, 1], 'nobody has needed it')
    const flood = h.pool.submit(parts)
    await waitFor(() => h.pool.workers.ready === 2)
    assert.deepEqual([h.pool.workers.wanted, h.pool.workers.busy, h.pool.backlog.rows], [2, 1, 69])
    const first = submit(h, 'quiet', job([0], 2))
    assert.deepEqual([h.pool.workers.busy, h.pool.backlog.rows], [2, 69])
    const second = submit(h, 'later', job([0], 3))
    assert.deepEqual([h.pool.workers.busy, h.pool.backlog.rows], [2, 70])
    h.open(100)
    assert.deepEqual([await first, await second, (await flood).length], [[2], [3], 70])
    assert.equal(h.runs.length, 72)
  })

  it('warms up every idle thread, the express ones too, and leaves those at work alone', async (t) => {
    const h = await harness(t, { workers: 2, expressThreads: 1 })
    await wakeExpress(h)
    const running = submit(h, 'a', job([1]))
    const warm = h.pool.warmUp(job([2]))
    assert.deepEqual([h.pool.workers.busy, h.pool.backlog.rows], [3, 0])
    h.open(100)
    await Promise.all([running, warm])
    assert.equal(h.runs.length, 70 + 3)
    await assert.rejects(h.pool.warmUp(job([FAIL])), hasCode('TEST_FAILED'))
  })

  it('replaces an express thread that ended and runs its work again', async (t) => {
    const h = await harness(t, { workers: 1, expressThreads: 1 })
    await wakeExpress(h)
    h.open(1000)
    const crash = job([CRASH], 1)
    const held = submit(h, 'a', job([1], 3))
    await assert.rejects(submit(h, 'b', crash), hasCode('WORKER_CRASHED'))
    assert.deepEqual(await held, [4])
    assert.deepEqual(await submit(h, 'c', job([1], 3)), [4])
  })

  it('puts the parts of one request together in order', async (t) => {
    const h = await harness(t, { workers: 2 })
    h.open(100)
    const parts = Array.from({ length: 9 }, (_, at) => job([at, at + 0.5]))
    const results = await h.pool.submit(parts)
    const answers = results.map(({ outputs }) => Array.from(outputs.y!.data as Float32Array))
    assert.deepEqual(answers, parts.map((_, at) => [at, at + 0.5]))
  })

  it('brings a bank to a worker once, again after it was evicted, and never runs without it', async (t) => {
    const h = await harness(t, { bankBytesMax: 40 })
    h.open(100)
    const brought = async (bank: number) => {
      const [result] = await h.pool.submit([job([1], bank, { wanted: ['y', 'brought'] })])
      return (result!.outputs.brought!.data as Float32Array)[0]
    }
    assert.deepEqual([await brought(1), await brought(1), await brought(2), await brought(1)], [1, 0, 1, 0])
    assert.equal(await brought(3), 1)
    assert.equal(h.pool.workers.banks, 2)
    assert.equal(await brought(1), 0)
    assert.equal(await brought(2), 1)
  })

  it('brings a forgotten bank again, also when it was forgotten under its own run', async (t) => {
    const h = await harness(t)
    const brought = () => h.pool.submit([job([1], 1, { wanted: ['y', 'brought'], runKey: undefined })])
      .then(([result]) => [result!.outputs.y!, result!.outputs.brought!].map(({ data }) => (data as Float32Array)[0]))
    h.open(1)
    assert.deepEqual(await brought(), [2, 1])
    h.pool.forget('m1:bank1')
    assert.deepEqual([h.pool.workers.banks, h.pool.workers.bankBytes], [0, 0])
    const again = [brought(), brought()]
    h.pool.forget('m1:bank1')
    h.open(2)
    assert.deepEqual(await Promise.all(again), [[2, 1], [2, 1]])
    assert.equal(h.pool.workers.banks, 1)
  })

  it('keeps banks of one content apart when they belong to different models', async (t) => {
    const h = await harness(t)
    h.open(100)
    assert.deepEqual(await submit(h, 'a', job([1], 5)), [6])
    const other = job([1], 7, { bankKey: 'm2:bank5' })
    assert.deepEqual(await submit(h, 'a', other), [8])
  })

  it('refuses beyond the queue and goes on afterwards', async (t) => {
    const h = await harness(t, { queueRows: 4 })
    const running = submit(h, 'a', job([0]))
    const waiting = submit(h, 'a', job([1, 2, 3]))
    await assert.rejects(submit(h, 'b', job([4, 5])), hasCode('QUEUE_FULL'))
    h.open(100)
    await Promise.all([running, waiting])
    assert.deepEqual(await submit(h, 'b', job([4, 5])), [4, 5])
  })

  it('drops what is aborted while it waits, and only that', async (t) => {
    const h = await harness(t)
    const running = submit(h, 'a', job([0]))
    const controller = new AbortController()
    const doomed = submit(h, 'a', job([1]), controller.signal)
    const kept = submit(h, 'a', job([2]))
    const reason = new Error('the client went away')
    controller.abort(reason)
    await assert.rejects(doomed, reason)
    h.open(100)
    assert.deepEqual(await running, [0])
    assert.deepEqual(await kept, [2])
    assert.equal(h.dropped, 1)
    assert.deepEqual(h.runs.map(({ rows }) => rows), [1, 1])
    await assert.rejects(submit(h, 'a', job([1]), controller.signal), reason)
  })

  it('answers a failed run with its error and serves the next', async (t) => {
    const h = await harness(t)
    h.open(100)
    await assert.rejects(submit(h, 'a', job([FAIL])), hasCode('TEST_FAILED'))
    assert.deepEqual(await submit(h, 'a', job([1])), [1])
    assert.deepEqual(h.gone, [])
  })

  it('replaces a thread that ended and runs its work again', async (t) => {
    const h = await harness(t)
    const crash = job([CRASH])
    const doomed = submit(h, 'a', crash)
    // The crashing run reads its command when it begins: what is retried must not crash a second thread.
    const innocent = submit(h, 'b', job([7], 3))
    h.open(1)
    await waitFor(() => h.gone.length === 1)
    h.open(100)
    await assert.rejects(doomed, hasCode('WORKER_CRASHED'))
    assert.deepEqual(await innocent, [10])
    assert.equal(h.gone.length, 2)
    assert.deepEqual(await submit(h, 'a', job([1], 3)), [4])
  })

  it('sets a stuck thread aside, answers its run, goes on with another, and ends it when it comes back', async (t) => {
    const h = await harness(t, { runMsMax: RUN_MS })
    const returned = waitFor(() => h.pool.workers.stuck === 0, () => h.stuck.length > 0)
    const stuck = submit(h, 'a', job([1]))
    const waiting = submit(h, 'b', job([2], 3))
    await assert.rejects(stuck, hasCode('RUN_STUCK'))
    assert.deepEqual(h.stuck, [1])
    assert.equal(h.pool.isLost, false)
    h.open(2)
    // One permit lets the stuck thread come back, the other is for the run on the thread in its place.
    assert.deepEqual(await waiting, [5])
    await returned
    assert.equal(h.pool.workers.ready, 1)
    assert.deepEqual(h.gone, [])
    assert.equal(h.runs.length, 1)
  })

  it('is lost when as many threads are stuck as it may have, says so at once, and heals when one comes back', async (t) => {
    const h = await harness(t, { runMsMax: RUN_MS })
    await assert.rejects(submit(h, 'a', job([1])), hasCode('RUN_STUCK'))
    const waiting = [submit(h, 'a', job([2])), submit(h, 'b', job([3], 4))]
    const [second, third] = await Promise.allSettled(waiting)
    assert.ok(second?.status === 'rejected' && hasCode('RUN_STUCK')(second.reason))
    assert.ok(third?.status === 'rejected' && hasCode('WORKERS_STUCK')(third.reason))
    assert.deepEqual([h.pool.isLost, h.pool.isServing, h.pool.workers.stuck], [true, false, 2])
    await assert.rejects(submit(h, 'a', job([5])), hasCode('WORKERS_STUCK'))
    h.open(2)
    await waitFor(() => h.pool.isServing)
    h.open(1)
    assert.deepEqual(await submit(h, 'a', job([6])), [6])
  })

  it('closes in spite of a stuck thread', async (t) => {
    const h = await harness(t, { runMsMax: RUN_MS })
    const stuck = submit(h, 'a', job([1]))
    const closing = h.pool.close()
    await assert.rejects(stuck, hasCode('RUN_STUCK'))
    await closing
  })

  it('lets a new thread that cannot load a model try again after it was mended', async (t) => {
    const unloadable: unknown[] = []
    const loads = new Int32Array(new SharedArrayBuffer(4))
    const h = await harness(t, {
      loads,
      onUnloadable: async (_model, error) => {
        unloadable.push(error)
        Atomics.store(loads, 0, 0)
      }
    })
    Atomics.store(loads, 0, 1)
    const innocent = submit(h, 'b', job([7], 3))
    const doomed = submit(h, 'a', job([CRASH]))
    h.open(10)
    await assert.rejects(doomed, hasCode('WORKER_CRASHED'))
    assert.deepEqual(await innocent, [10])
    assert.deepEqual(await submit(h, 'a', job([1])), [1])
    assert.equal(unloadable.length, 1)
    assert.ok(hasCode('TEST_FAILED')(unloadable[0]))
  })

  it('answers everything it let in before it closes, and nothing after', async (t) => {
    const h = await harness(t)
    const answers = Array.from({ length: 5 }, (_, at) => submit(h, 'a', job([at], 0, { runKey: undefined })))
    const closing = h.pool.close()
    await assert.rejects(submit(h, 'a', job([9])), hasCode('POOL_CLOSED'))
    h.open(100)
    assert.deepEqual(await Promise.all(answers), [[0], [1], [2], [3], [4]])
    await closing
  })

  it('lets in later parts of work that was let in, past a full queue and while closing, and closes after it', async (t) => {
    const h = await harness(t, { queueRows: 1 })
    const running = submit(h, 'a', job([1], 0, { runKey: undefined }))
    const waiting = submit(h, 'a', job([2], 0, { runKey: undefined }))
    await assert.rejects(submit(h, 'b', job([3])), hasCode('QUEUE_FULL'))
    let closed: Promise<void> | undefined
    const work = h.pool.keepOpen(async () => {
      const first = await h.pool.submit([job([4], 0, { turnOf: 'b', runKey: undefined })], undefined, true)
      closed = h.pool.close()
      await assert.rejects(submit(h, 'b', job([5])), hasCode('POOL_CLOSED'))
      await assert.rejects(h.pool.keepOpen(async () => {}), hasCode('POOL_CLOSED'))
      const second = await h.pool.submit([job([6], 0, { turnOf: 'b' })], undefined, true)
      return [...first, ...second].map(({ outputs }) => (outputs.y!.data as Float32Array)[0])
    })
    h.open(10)
    assert.deepEqual(await work, [4, 6])
    assert.deepEqual([await running, await waiting], [[1], [2]])
    await closed
  })
})

/** A flood comes and goes, after which every thread is there and idle. */
async function wakeExpress (h: Harness): Promise<void> {
  const { ready } = h.pool.workers
  const flood = h.pool.submit(Array.from({ length: 70 }, (_, at) => job([at], 1, { turnOf: 'flood', runKey: undefined })))
  await waitFor(() => h.pool.workers.ready > ready)
  h.open(70)
  await flood
}

/** Lets the event loop turn until the condition holds, once it may; the test runner's time limit bounds it. */
async function waitFor (condition: () => boolean, after = () => true): Promise<void> {
  while (!after() || !condition()) await new Promise((resolve) => setImmediate(resolve))
}
