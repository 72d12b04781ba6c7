/**
 * Servers that are killed at random moments of registrations under load, and by native crashes, which end a process as
 * SIGABRT and SIGSEGV do. REGISTRATIONS says how many, some four to each kill (200 for a thorough run), TEST_SEED repeats
 * the moments.
 */
import assert from 'node:assert/strict'
import { it, type TestContext } from 'node:test'
import { startPostgres } from '../support/postgres.js'
import { seededUniform } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'
import { startProcess, type RunningProcess } from '../support/process.js'
import {
  activateSigns, getSigns, inferSigns, registerSigns, shippedBank, signsFolder, variantOf
} from '../support/signs.js'

const REGISTRATIONS = Number(process.env.REGISTRATIONS ?? 12)
const DOMAINS = ['mist', 'dusk', 'rain']
const SIGNALS = ['SIGKILL', 'SIGABRT', 'SIGSEGV'] as const

/** Registrations between two kills, and turns of the event loop between the last of them and the kill. */
const ROUND_MAX = 8
const TURNS_MAX = 300

interface Known {
  /** Digests of acknowledged versions, by version. */
  acknowledged: Map<number, string>
  /** What may serve: the last activation that was acknowledged, and those sent since. */
  mayServe: Set<number | null>
}

for (const kind of ['files', 'PostgreSQL']) {
  it(`every acknowledged version survives in ${kind}, and none serves that was not acknowledged`, async (t) => {
    const { folder, settings } = await signsFolder(t)
    if (kind === 'files') return await killOverAndOver(t, folder, settings)
    const postgres = await startPostgres()
    t.after(() => postgres.close())
    await killOverAndOver(t, folder, { ...settings, BANKSWITCH_STORE: await postgres.createPlace() })
  })
}

async function killOverAndOver (t: TestContext, folder: string, settings: Record<string, string>): Promise<void> {
  const random = seededUniform(runSeed)
  const bank = await shippedBank('fog')
  const expected = new Map(DOMAINS.map((domain): [string, Known] => {
    return [domain, { acknowledged: new Map(), mayServe: new Set([null]) }]
  }))
  let registrations = 0
  let kills = 0
  for (; registrations < REGISTRATIONS; kills++) {
    const server = await startProcess(t, settings, folder)
    await assertKept(server, expected)
    const { bytes } = await inferSigns(server.address, 'day')
    const load = keepAsking(server, bytes)
    let left = 1 + Math.floor(random() * ROUND_MAX)
    const signal = SIGNALS[kills % SIGNALS.length]!
    const work = DOMAINS.map(async (domain) => {
      while (left-- > 0) {
        registrations++
        await registerAndActivate(server, domain, expected.get(domain)!, variantOf(bank, registrations / 1000))
      }
      for (let turns = Math.floor(random() * TURNS_MAX); turns > 0; turns--) await new Promise(setImmediate)
      server.child.kill(signal)
    })
    for (const result of await Promise.allSettled(work)) {
      if (result.status === 'rejected' && result.reason instanceof assert.AssertionError) throw result.reason
    }
    assert.equal(await server.ended, signal)
    assert.equal(await load, 0, 'wrong answers')
  }
  const last = await startProcess(t, settings, folder)
  await assertKept(last, expected)
  assert.doesNotMatch(last.stdout(), /quarantine/)
  const acknowledged = [...expected.values()].reduce((sum, one) => sum + one.acknowledged.size, 0)
  assert.ok(acknowledged > 0)
  t.diagnostic(`${kills} kills, ${registrations} registrations, ${acknowledged} acknowledged`)
}

async function registerAndActivate (
  { address }: RunningProcess, domain: string, { acknowledged, mayServe }: Known, file: Uint8Array
): Promise<void> {
  const answer = await registerSigns(address, domain, file, false)
  assert.equal(answer.status, 201)
  const { version, digest } = JSON.parse(answer.bytes.toString()) as { version: number, digest: string }
  acknowledged.set(version, digest)
  mayServe.add(version)
  assert.equal((await activateSigns(address, domain, version)).status, 200)
  mayServe.clear()
  mayServe.add(version)
}

async function assertKept ({ address }: RunningProcess, expected: ReadonlyMap<string, Known>): Promise<void> {
  for (const [domain, { acknowledged, mayServe }] of expected) {
    if (acknowledged.size === 0) continue
    const { bytes } = await getSigns(address, `/v1/models/traffic-signs/domains/${domain}`)
    const { active, versions } = JSON.parse(bytes.toString()) as {
      active: number | null, versions: Array<{ version: number, digest: string }>
    }
    const digests = new Map(versions.map(({ version, digest }) => [version, digest]))
    for (const [version, digest] of acknowledged) assert.equal(digests.get(version), digest, `${domain}:${version}`)
    assert.ok(mayServe.has(active), `${domain}:${active} serves, not one of ${[...mayServe].join()}`)
    mayServe.clear()
    mayServe.add(active)
    const newest = Math.max(...acknowledged.keys())
    assert.equal((await inferSigns(address, `${domain}:${newest}`)).status, 200, `${domain}:${newest}`)
  }
}

/** Asks until the server is gone; resolves with the number of wrong answers. */
async function keepAsking ({ address }: RunningProcess, bytes: Buffer): Promise<number> {
  let wrong = 0
  const client = async () => {
    for (;;) {
      const answer = await inferSigns(address, 'day')
      if (answer.status !== 200 || !answer.bytes.equals(bytes)) wrong++
    }
  }
  await Promise.allSettled([client(), client()])
  return wrong
}
