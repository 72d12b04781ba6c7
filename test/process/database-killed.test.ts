/**
 * A database that is killed at random moments of registrations under load, and started again. REGISTRATIONS says how many
 * (200 for a thorough run), TEST_SEED repeats the moments as far as they can be.
 */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { startPostgres } from '../support/postgres.js'
import { seededUniform } from '../support/random.js'
import { startReplicas } from '../support/replicas.js'
import { runSeed } from '../support/run-seed.js'
import { activateSigns, getSigns, inferSigns, registerSigns, shippedBank, signsFolder, variantOf } from '../support/signs.js'

const REGISTRATIONS = Number(process.env.REGISTRATIONS ?? 60)
const KILLS = 3
const DOMAINS = Array.from({ length: 6 }, (_, at) => `domain-${at}`)

interface Known {
  /** Digests of acknowledged versions, by version. */
  acknowledged: Map<number, string>
  /** What may serve: the last activation that was acknowledged, and those sent since. */
  mayServe: Set<number | null>
}

it('every version that was acknowledged is there after the database was killed, and none serves that was not sent', async (t) => {
  const random = seededUniform(runSeed)
  const postgres = await startPostgres(true)
  t.after(() => postgres.close())
  const { folder, settings } = await signsFolder(t)
  const url = await postgres.createPlace()
  const servers = await startReplicas(t, folder, settings, [url, url])
  const bank = await shippedBank('fog')
  const expected = new Map(DOMAINS.map((domain): [string, Known] => [domain, { acknowledged: new Map(), mayServe: new Set([null]) }]))
  const killAt = Array.from({ length: KILLS }, () => Math.floor((0.1 + 0.8 * random()) * REGISTRATIONS)).sort((a, b) => a - b)
  const so = { sent: 0, refused: 0, isOver: false }
  let restarting = Promise.resolve()
  const step = () => {
    so.sent++
    if (killAt[0] !== undefined && so.sent >= killAt[0]) {
      killAt.shift()
      restarting = restarting.then(async () => {
        for (let turns = Math.floor(random() * 200); turns > 0; turns--) await new Promise(setImmediate)
        await postgres.kill()
        await postgres.start()
      })
    }
  }
  // Before the first kill: a bank that a server never read is answered 503 while its database is away.
  const before = await Promise.all(servers.map(async ({ address }) => await inferSigns(address, 'day')))
  const load = servers.map(async ({ address }, at) => {
    const { status, bytes } = before[at]!
    assert.equal(status, 200)
    let asked = 0
    for (; !so.isOver; asked++) {
      const answer = await inferSigns(address, 'day')
      assert.equal(answer.status, 200, answer.bytes.toString())
      assert.ok(answer.bytes.equals(bytes), 'inference goes on, and is right')
    }
    return asked
  })
  await Promise.all(DOMAINS.map(async (domain, lane) => {
    const { acknowledged, mayServe } = expected.get(domain)!
    while (so.sent < REGISTRATIONS) {
      step()
      const { address } = servers[(lane + so.sent) % servers.length]!
      const answer = await registerSigns(address, domain, variantOf(bank, so.sent / 1000), false)
      if (answer.status !== 201) {
        assert.deepEqual([answer.status, answer.code], [503, 'STORE_UNWRITABLE'])
        so.refused++
        await restarting
        await isBack(address)
        continue
      }
      const { version, digest } = JSON.parse(answer.bytes.toString()) as { version: number, digest: string }
      acknowledged.set(version, digest)
      mayServe.add(version)
      const activated = await activateSigns(address, domain, version)
      if (activated.status === 200) {
        mayServe.clear()
        mayServe.add(version)
      } else {
        assert.equal(activated.status, 503)
        so.refused++
        await restarting
        await isBack(address)
      }
    }
  }))
  await restarting
  so.isOver = true
  const asked = (await Promise.all(load)).reduce((sum, one) => sum + one, 0)
  const [fresh] = await startReplicas(t, folder, settings, [url])
  for (const { address } of [...servers, fresh!]) {
    await isBack(address)
    for (const [domain, { acknowledged, mayServe }] of expected) {
      // A version of another name than any: the server looks at the database before it says that there is none.
      await inferSigns(address, `${domain}:999999`)
      const { bytes } = await getSigns(address, `/v1/models/traffic-signs/domains/${domain}`)
      const { active, versions } = JSON.parse(bytes.toString()) as {
        active: number | null, versions: Array<{ version: number, digest: string }>
      }
      const digests = new Map(versions.map(({ version, digest }) => [version, digest]))
      for (const [version, digest] of acknowledged) assert.equal(digests.get(version), digest, `${domain}:${version}`)
      assert.ok(mayServe.has(active), `${domain}:${active} serves, not one of ${[...mayServe].join()}`)
      for (const version of [...acknowledged.keys()].slice(-3)) {
        assert.equal((await inferSigns(address, `${domain}:${version}`)).status, 200, `${domain}:${version}`)
      }
    }
  }
  const acknowledged = [...expected.values()].reduce((sum, one) => sum + one.acknowledged.size, 0)
  assert.ok(acknowledged >= DOMAINS.length)
  t.diagnostic(`${so.sent} registrations, ${acknowledged} acknowledged, ${so.refused} calls refused, ${asked} inferences meanwhile`)
})

/** A server that has found its way back to the database answers with what that holds. */
async function isBack (address: string): Promise<void> {
  for (;;) {
    const metrics = (await getSigns(address, '/metrics')).bytes.toString()
    if (Number(/^bankswitch_store_age_seconds (\S+)$/m.exec(metrics)![1]) < 0.5) return
    await new Promise(setImmediate)
  }
}
