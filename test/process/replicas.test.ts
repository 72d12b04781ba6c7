/**
 * Three servers over one database: what one is told the others know, what two are told at once only one does, and what
 * each promises when one is cut off. How long it takes until they know, `npm run bench -- postgres` tells.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { startProxy, type DatabaseProxy } from '../support/database-proxy.js'
import { DATABASE_PASSWORD, startPostgres, type Postgres } from '../support/postgres.js'
import { activeAt, answeringAt, callSigns, isResident, startReplicas } from '../support/replicas.js'
import { AUTHORIZED, getSigns, inferSigns, registerSigns, shippedBank, signsFolder, variantOf } from '../support/signs.js'
import type { RunningProcess } from '../support/process.js'

const LANES = 3
const TURNS = 6

async function until (isSo: () => Promise<boolean>): Promise<void> {
  while (!await isSo()) await new Promise(setImmediate)
}

describe('three servers over one database', () => {
  const endings: Array<() => unknown> = []
  const t = { after: (ending: () => unknown) => { endings.unshift(ending) } } as unknown as Parameters<typeof signsFolder>[0]
  let postgres: Postgres
  let proxy: DatabaseProxy
  let servers: RunningProcess[]
  let bank: Uint8Array
  let count = 0
  const variant = () => variantOf(bank, ++count / 1000)
  const register = async (at: number, domain: string, isActivated = true): Promise<number> => {
    const { status, bytes } = await registerSigns(servers[at]!.address, domain, variant(), isActivated)
    assert.equal(status, 201, bytes.toString())
    return (JSON.parse(bytes.toString()) as { version: number }).version
  }
  const others = (at: number) => servers.filter((_, index) => index !== at)

  before(async () => {
    postgres = await startPostgres()
    t.after(() => postgres.close())
    proxy = await startProxy(postgres.socket)
    t.after(() => proxy.close())
    const url = await postgres.createPlace()
    const { folder, settings } = await signsFolder(t)
    bank = await shippedBank('fog')
    servers = await startReplicas(t, folder, { ...settings, BANKSWITCH_STORE_AGE_MS: '1500' }, [url, url, proxy.through(url)])
  })
  after(async () => { for (const ending of endings) await ending() })

  it('have the shipped domains once, whoever brought them', async () => {
    const all = await Promise.all(servers.map(async ({ address }) => (await getSigns(address, '/v1/models/traffic-signs/domains')).bytes.toString()))
    assert.equal(new Set(all).size, 1)
    const { domains } = JSON.parse(all[0]!) as { domains: Array<{ versions: unknown[] }> }
    assert.ok(domains.length > 2 && domains.every(({ versions }) => versions.length === 1))
  })

  it('answer by a version that another one has just acknowledged, and by what it activated soon after', async () => {
    await Promise.all(Array.from({ length: LANES }, async (_, lane) => {
      for (let turn = 0; turn < TURNS; turn++) {
        const at = (lane + turn) % servers.length
        const domain = `lane-${lane}`
        const version = await register(at, domain)
        for (const server of others(at)) {
          assert.equal(await answeringAt(server, `${domain}:${version}`), version, 'by its name at once')
          await until(async () => await answeringAt(server, domain) === version)
        }
      }
    }))
  })

  it('know soon what another one activated, rolled back, marked and removed', async () => {
    const [a, b, c] = servers as [RunningProcess, RunningProcess, RunningProcess]
    const first = await register(0, 'moved')
    const second = await register(1, 'moved')
    const everywhere = async (isSo: (server: RunningProcess) => Promise<boolean>) => {
      for (const server of servers) await until(() => isSo(server))
    }
    assert.equal((await callSigns(c, 'POST', 'moved/activate', { version: first })).status, 200)
    await everywhere(async (server) => await answeringAt(server, 'moved') === first)
    assert.equal((await callSigns(a, 'POST', 'moved/rollback')).status, 200)
    await everywhere(async (server) => await answeringAt(server, 'moved') === second)
    assert.equal((await callSigns(b, 'PUT', 'moved/labels/stable', { version: first })).status, 200)
    for (const server of servers) assert.equal(await answeringAt(server, 'moved:stable'), first, 'a label by its name at once')
    assert.equal((await callSigns(b, 'PUT', 'moved/canary', { version: first, percent: 50 })).status, 200)
    await everywhere(async (server) => (await callSigns(server, 'GET', 'moved/versions')).status === 200)
    for (let key = 0; key < 12; key++) {
      const headers = { 'x-request-id': `caller-${key}` }
      const answers = await Promise.all(servers.map((server) => answeringAt(server, 'moved', headers)))
      assert.equal(new Set(answers).size, 1, 'the canary answers the same callers everywhere')
    }
    assert.equal((await callSigns(c, 'DELETE', 'moved')).status, 204)
    await everywhere(async ({ address }) => (await inferSigns(address, 'moved')).status === 404)
  })

  it('do one of two changes that expect the same revision, and lose neither of two that do not', async () => {
    await register(0, 'contended')
    for (let round = 0; round < 5; round++) {
      const { json } = await callSigns(servers[0]!, 'GET', 'contended/versions')
      const before = (json.versions as unknown[]).length
      const etag = `"${before}"`
      const put = async (at: number) => (await fetch(`${servers[at]!.address}/admin/models/traffic-signs/domains/contended`, {
        method: 'PUT',
        headers: { ...AUTHORIZED, 'content-type': 'application/octet-stream', 'if-match': etag },
        body: new Uint8Array(variant())
      })).status
      const statuses = await Promise.all([put(round % 2), put(2)])
      assert.deepEqual(statuses.toSorted(), [201, 412])
    }
    const versions = await Promise.all([0, 1, 2, 0, 1, 2].map((at) => register(at, 'contended', false)))
    assert.equal(new Set(versions).size, 6)
    for (const server of servers) {
      assert.equal(((await callSigns(server, 'GET', 'contended/versions')).json.versions as unknown[]).length, 12)
    }
  })

  it('keep to what they promise when one is cut off: it serves what it has, and the others go on', async () => {
    const [a, b, c] = servers as [RunningProcess, RunningProcess, RunningProcess]
    const unasked = await register(0, 'unasked')
    await until(async () => await isResident(c, 'unasked'))
    const first = await register(0, 'parted')
    for (const server of servers) await until(async () => await answeringAt(server, 'parted') === first)
    proxy.stall()
    const second = await register(0, 'parted')
    await until(async () => await answeringAt(b, 'parted') === second)
    assert.equal(await answeringAt(c, 'parted'), first)
    assert.equal(await answeringAt(c, 'unasked'), unasked, 'its bank was read before anybody asked for it')
    const { status, retryAfter } = await callSigns(c, 'POST', 'parted/rollback')
    assert.deepEqual([status, Number(retryAfter) >= 1], [503, true])
    assert.equal(await answeringAt(c, 'parted'), first)
    assert.equal((await inferSigns(c.address, 'unknown')).status, 404)
    // It knows by now that the database is away, and lets nobody wait.
    assert.equal((await registerSigns(c.address, 'parted', variant())).status, 503)
    assert.equal((await callSigns(c, 'GET', 'parted/versions')).status, 200)
    assert.equal((await getSigns(c.address, '/readyz')).status, 503, 'as BANKSWITCH_STORE_AGE_MS says')
    const metrics = (await getSigns(c.address, '/metrics')).bytes.toString()
    assert.ok(Number(/^bankswitch_store_age_seconds (\S+)$/m.exec(metrics)![1]) > 1.5)
    for (const server of [a, b]) assert.equal((await getSigns(server.address, '/readyz')).status, 200)
    proxy.mend()
    await until(async () => await activeAt(c, 'parted') === second)
    await until(async () => (await getSigns(c.address, '/readyz')).status === 200)
    assert.equal((await callSigns(c, 'POST', 'parted/rollback')).status, 200)
    assert.equal(await answeringAt(c, 'parted'), first)
  })

  it('write who did what to their logs, and the password of the database nowhere', async () => {
    for (const server of servers) {
      assert.ok(/"audit":\{[^}]*"keyId":"admin"[^}]*"method":"(PUT|POST|DELETE)"/.test(server.stdout()))
      assert.ok(!server.stdout().includes(DATABASE_PASSWORD))
    }
    for (const line of ['the database of the store is away', 'the database of the store is back']) {
      await until(async () => servers[2]!.stdout().includes(line))
    }
  })
})
