/** What is made, opened and given back, with a compiler, a pool and a clock that the test holds. */
import assert from 'node:assert/strict'
import { readdir, utimes } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { completeBank } from '#src/bank/bank.js'
import { serializeBankSafetensors } from '#src/bank/formats/bank-safetensors.js'
import { HotDomains, type HeatingNeeds } from '#src/serving/heating/hot-domains.js'
import { Leases } from '#src/serving/leases.js'
import type { DedicatedGraph, DedicateRequest } from '#src/compiler/dedicate.js'
import type { ResolvedDomain } from '#src/serving/domain-reference.js'
import type { ReadyModel } from '#src/serving/model-states.js'
import { temporaryFolder } from '../support/folders.js'

const layers = [{ key: 'bn', channels: 1, epsilon: 1e-5 }]
const statistics = { mean: [1], variance: [2], gamma: [3], beta: [4] }
const bank = completeBank(layers, new Map([['bn', statistics]]), new Map())

const model = {
  entry: { manifest: { name: 'signs' }, graphPath: '/models/signs/model.onnx', folder: '/models/signs' },
  artefact: { folder: '/cache/artefact', layers, weightBytes: 1000, proof: { isRowInvariant: true } },
  served: { id: 'artefact', name: 'signs', takesAnySize: false }
} as unknown as ReadyModel

const versions = (name: string) => [{ version: 1, digest: `digest of ${name}` }]

const resolved = (domain: string) => ({ record: { domain }, version: versions(domain)[0]! }) as unknown as ResolvedDomain

async function setUp (t: TestContext, { hotBytes = 5000, sessionBytes = 100 } = {}) {
  const cacheDir = await temporaryFolder(t)
  const clock = { ms: 0 }
  const seen = { builds: [] as string[], sessions: [] as string[], warnings: [] as string[] }
  const requests: DedicateRequest[] = []
  let dedicate = async (request: DedicateRequest, _signal?: AbortSignal): Promise<DedicatedGraph> => {
    return { graphPath: join(request.folder, 'graph.onnx'), weightBytes: 1100, sessionBytes, maxRelativeError: 0 }
  }
  const logger = { info () {}, warn: ({ err }: { err: Error }) => { seen.warnings.push(err.message) }, child: () => logger }
  const needs = {
    dedicated: {
      add: async (key: string) => { seen.sessions.push(`+${key}`) },
      remove: async (key: string) => { seen.sessions.push(`-${key}`) }
    },
    store: {
      read: async () => serializeBankSafetensors(bank, new Map()),
      domains: () => ['day', 'night'].map((domain) => ({ domain, versions: versions(domain) }))
    },
    leases: new Leases(),
    metrics: { countHotBuild: (name: string, outcome: string) => { seen.builds.push(`${name} ${outcome}`) } },
    logger,
    dedicate: (request: DedicateRequest, signal?: AbortSignal) => {
      requests.push(request)
      return dedicate(request, signal)
    },
    now: () => clock.ms
  } as unknown as HeatingNeeds
  const hot = new HotDomains(needs, { hotBytes, workers: 2, runRows: 4, cacheDir })
  t.after(() => hot.close())
  /** Half a minute of traffic and more, at 100 rows a second, and a look at it. */
  const ask = async (domain: string, seconds = 60): Promise<void> => {
    for (let second = 0; second < seconds; second++) {
      clock.ms += 1000
      hot.count(model, resolved(domain), 100)
    }
    await hot.look()
  }
  return { hot, ask, seen, requests, needs, clock, cacheDir, setDedicate: (next: typeof dedicate) => { dedicate = next } }
}

const KEY = 'artefact:digest of day'

test('a domain that gets the traffic gets a network of its bank, and loses it when another has it', async (t) => {
  const { hot, ask, seen, requests, clock } = await setUp(t)
  await ask('day')
  const [request] = requests
  assert.deepEqual(
    [request!.source, request!.artefactFolder, request!.runRows, [...request!.bank]],
    [{ path: '/models/signs/model.onnx', origin: 'graph' }, '/cache/artefact', 4, [...bank]]
  )
  assert.ok(existsSync(request!.folder))
  assert.deepEqual([seen.sessions, seen.builds], [[`+${KEY}`], ['signs ok']])
  assert.deepEqual(hot.versionsOf('signs'), [{ domain: 'day', version: 1, digest: 'digest of day', bytes: 1300 }])
  assert.deepEqual([hot.size, hot.versionsOf('other')], [{ count: 1, bytes: 1300 }, []])
  await ask('night', 600)
  await hot.look()
  assert.deepEqual(seen.sessions, [`+${KEY}`, `-${KEY}`, '+artefact:digest of night'])
  assert.equal(existsSync(request!.folder), false)
  clock.ms += 3_600_000
  await hot.look()
  assert.deepEqual([seen.sessions.at(-1), hot.size], ['-artefact:digest of night', { count: 0, bytes: 0 }])
})

test('without a budget nothing is counted', async (t) => {
  const { ask, requests } = await setUp(t, { hotBytes: 0 })
  await ask('day')
  assert.equal(requests.length, 0)
})

test('what is too large by its weights is never made, what measures too large is made once', async (t) => {
  const small = await setUp(t, { hotBytes: 999 })
  await small.ask('day')
  assert.equal(small.requests.length, 0)
  const { ask, seen, requests, clock, hot } = await setUp(t, { hotBytes: 1299 })
  await ask('day')
  clock.ms += 3_600_000
  await ask('day')
  assert.deepEqual([requests.length, seen.sessions, seen.builds], [1, [], ['signs error']])
  assert.match(seen.warnings[0]!, /takes 1300 bytes, and 1299 of the budget are left/)
  assert.equal(existsSync(requests[0]!.folder), false)
  assert.equal(hot.size.bytes, 0)
})

test('one that failed is tried again after an hour, not before', async (t) => {
  const { ask, requests, setDedicate, seen, clock } = await setUp(t)
  setDedicate(async () => { throw new Error('the proof failed') })
  await ask('day')
  await ask('day')
  assert.deepEqual([requests.length, seen.warnings, seen.builds], [1, ['the proof failed'], ['signs error']])
  clock.ms += 3_600_000
  await ask('day')
  assert.equal(requests.length, 2)
})

test('one is made at a time, and nothing waits for it', async (t) => {
  const { hot, ask, requests, setDedicate } = await setUp(t)
  let done!: (graph: DedicatedGraph) => void
  setDedicate(() => new Promise((resolve) => { done = resolve }))
  const asking = ask('day')
  while (requests.length === 0) await new Promise((resolve) => setImmediate(resolve))
  await ask('day')
  assert.deepEqual([requests.length, hot.size.count], [1, 0])
  done({ graphPath: 'graph.onnx', weightBytes: 1, sessionBytes: 1, maxRelativeError: 0 })
  await asking
  assert.equal(hot.size.count, 1)
})

test('a bank that is removed loses its network, or the one that is being made', async (t) => {
  const { hot, ask, seen, requests, setDedicate } = await setUp(t)
  await ask('day')
  hot.forget(KEY)
  assert.deepEqual([hot.size.count, seen.sessions], [0, [`+${KEY}`, `-${KEY}`]])
  await hot.look()
  assert.equal(requests.length, 1, 'its rows are forgotten too')
  setDedicate(async (_request, signal) => {
    hot.forget(KEY)
    signal!.throwIfAborted()
    throw new Error('not stopped')
  })
  await ask('day')
  assert.deepEqual([hot.size.count, seen.builds, seen.warnings], [0, ['signs ok'], []])
})

test('one that is removed while the workers open it is closed again', async (t) => {
  const { hot, ask, seen, needs } = await setUp(t)
  needs.dedicated.add = async () => { hot.forget(KEY) }
  await ask('day')
  assert.deepEqual([hot.size.count, seen.sessions, seen.warnings], [0, [`-${KEY}`], []])
})

test('one that a new thread cannot open is dropped, and made anew', async (t) => {
  const { hot, ask, seen, requests } = await setUp(t)
  await ask('day')
  hot.lose(KEY, new Error('no such file'))
  assert.equal(hot.size.count, 0)
  await hot.look()
  assert.deepEqual([requests.length, hot.size.count, seen.warnings], [2, 1, ['no such file']])
})

test('closing leaves no file; what a dead process left goes, what a living one has stays', async (t) => {
  const { hot, ask, cacheDir } = await setUp(t)
  const dead = await setUp(t)
  await dead.ask('day')
  const other = new HotDomains(dead.needs, { hotBytes: 5000, workers: 2, runRows: 4, cacheDir })
  const counted = { ms: 0 }
  dead.needs.now = () => counted.ms
  for (; counted.ms <= 60_000; counted.ms += 1000) other.count(model, resolved('day'), 100)
  await other.look()
  const [left] = await readdir(cacheDir)
  await ask('day')
  assert.equal((await readdir(cacheDir)).length, 2)
  await hot.close()
  assert.deepEqual(await readdir(cacheDir), [left])
  const past = new Date(Date.now() - 61_000)
  await utimes(join(cacheDir, left!), past, past)
  const next = await setUp(t)
  const heir = new HotDomains(next.needs, { hotBytes: 5000, workers: 2, runRows: 4, cacheDir })
  for (; next.clock.ms <= 60_000; next.clock.ms += 1000) heir.count(model, resolved('day'), 100)
  await heir.look()
  assert.equal((await readdir(cacheDir)).includes(left!), false)
  await heir.close()
  await other.close()
  assert.deepEqual(await readdir(cacheDir), [])
})
