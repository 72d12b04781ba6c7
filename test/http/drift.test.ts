import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { seededNormal } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'
import { ADMIN, startService, type Service } from '../support/service.js'
import { binaryRequest } from '../support/wire.js'

const DRIFT = '/v1/models/traffic-signs/domains/day/drift'
const TRAFFIC = '/v1/models/traffic-signs/traffic'
const DAY_TRAFFIC = '/v1/models/traffic-signs/domains/day/traffic'
const CANDIDATES = '/admin/models/traffic-signs/candidates'
const ROW = 3 * 32 * 32
const IMAGES = 32

/** Rows of noise, which no camera sees. */
async function ask (service: Service, domain: string, rows: number, seed: number, more: Record<string, string> = {}): Promise<number> {
  const normal = seededNormal(seed)
  const values = Float32Array.from({ length: rows * ROW }, normal)
  const { payload, headers } = binaryRequest({ shape: [rows, 3, 32, 32], values })
  const { statusCode } = await service.app.inject({
    method: 'POST', url: '/v2/models/traffic-signs/infer', payload, headers: { ...headers, 'x-domain': domain, ...more }
  })
  await service.engine.driftSettled()
  return statusCode
}

interface Glance {
  domain: string
  drift?: { state: string, pictures: number, eValue?: number }
}

/** What the traffic tells of drift: whether it is looked for, and by domain. */
async function glances (service: Service): Promise<{ isWatched: boolean, drifts: Record<string, Glance['drift']> }> {
  const { watchesDrift, domains } = (await service.app.inject(TRAFFIC)).json() as { watchesDrift: boolean, domains: Glance[] }
  const one = (await service.app.inject(DAY_TRAFFIC)).json() as Omit<Glance, 'domain'> & { watchesDrift: boolean }
  assert.deepEqual([one.watchesDrift, one.drift], [watchesDrift, domains.find(({ domain }) => domain === 'day')?.drift])
  return { isWatched: watchesDrift, drifts: Object.fromEntries(domains.map(({ domain, drift }) => [domain, drift])) }
}

describe('a service that does not look for drift', () => {
  let service: Service
  before(async () => { service = await startService() })
  after(() => service.close())

  it('says so, and counts nothing', async () => {
    assert.equal(await ask(service, 'day', 1, runSeed), 200)
    for (const request of [{ url: DRIFT }, { url: CANDIDATES, headers: ADMIN }]) {
      const response = await service.app.inject(request)
      const { code, details } = response.json()
      assert.deepEqual([response.statusCode, code, details], [409, 'DRIFT_OFF', { expected: 'BANKSWITCH_DRIFT_ERT above 0', received: 0 }])
    }
    const { payload } = await service.app.inject({ url: '/metrics', headers: ADMIN })
    assert.doesNotMatch(payload, /^bankswitch_drift\w*{/m)
    const { isWatched, drifts } = await glances(service)
    assert.deepEqual([isWatched, drifts.day], [false, undefined])
  })
})

describe('a service whose settings cannot find what they ask for', () => {
  const warningsOf = (service: Service) => service.log.filter(({ level }) => level === 'warn' || level === 40)

  it('warns when candidates are asked for and drift is not looked for', async () => {
    const service = await startService({ BANKSWITCH_DRIFT_COLLECT: 'true' })
    const [warning] = warningsOf(service)
    await service.close()
    assert.deepEqual([warning?.msg, warning?.BANKSWITCH_DRIFT_ERT, warning?.BANKSWITCH_DRIFT_COLLECT], [
      'no pictures are gathered for candidates: drift is not looked for', 0, true
    ])
  })

  it('warns when drift is looked for in no picture, and tells which setting makes candidates', async () => {
    const service = await startService({ BANKSWITCH_DRIFT_ERT: '1000', BANKSWITCH_DRIFT_SHARE: '0' })
    const [warning] = warningsOf(service)
    const { code, error, details } = (await service.app.inject({ url: CANDIDATES, headers: ADMIN })).json()
    await service.close()
    assert.deepEqual([warning?.msg, warning?.BANKSWITCH_DRIFT_ERT, warning?.BANKSWITCH_DRIFT_SHARE], [
      'drift is never found: no picture is looked at', 1000, 0
    ])
    assert.deepEqual([code, error, details], [
      'DRIFT_OFF',
      'no pictures are gathered for candidates here: BANKSWITCH_DRIFT_COLLECT is false',
      { expected: 'BANKSWITCH_DRIFT_COLLECT true', received: false }
    ])
  })
})

describe('a service that looks for drift', () => {
  let service: Service
  before(async () => {
    service = await startService({
      BANKSWITCH_DRIFT_ERT: '1000',
      BANKSWITCH_DRIFT_SHARE: '1',
      BANKSWITCH_DRIFT_COLLECT: 'true',
      BANKSWITCH_DRIFT_COLLECT_IMAGES: String(IMAGES)
    })
  })
  after(() => service.close())

  it('knows models, domains and keys', async () => {
    const statusOf = async (url: string, headers = {}) => (await service.app.inject({ url, headers })).statusCode
    assert.equal(await statusOf('/v1/models/none/domains/day/drift'), 404)
    assert.equal(await statusOf('/v1/models/traffic-signs/domains/none/drift'), 404)
    assert.equal(await statusOf('/admin/models/none/candidates', ADMIN), 404)
    assert.equal(await statusOf(CANDIDATES), 401)
    assert.deepEqual((await service.app.inject({ url: CANDIDATES, headers: ADMIN })).json(), { candidates: [], left: [] })
  })

  it('tells first that it has not seen enough, then of drift', async () => {
    assert.deepEqual((await service.app.inject(DRIFT)).json(), {
      model: 'traffic-signs', domain: 'day', version: 1, state: 'notEnoughSeen', requestsPerFalseAlarm: 1000, share: 1
    })
    assert.deepEqual((await glances(service)).drifts.day, undefined)
    assert.equal(await ask(service, 'day', 1, runSeed), 200)
    assert.deepEqual(await glances(service), { isWatched: true, drifts: { day: { state: 'notEnoughSeen', pictures: 1 } } })
    for (let at = 1; at < 60; at++) assert.equal(await ask(service, 'day', 1, runSeed + at), 200)
    const told = (await service.app.inject(DRIFT)).json()
    assert.deepEqual((await glances(service)).drifts.day, { state: 'drifting', pictures: 60, eValue: told.eValue })
    assert.deepEqual([told.state, told.pictures, told.streams], ['drifting', 60, { watched: 1, drifting: 1 }])
    assert.ok(told.alarms > 0 && told.eValue > 10 && told.moved.length === 5)
    assert.ok(Date.parse(told.since) <= Date.parse(told.driftingSince))
    const { payload } = await service.app.inject({ url: '/metrics', headers: ADMIN })
    assert.match(payload, /^bankswitch_drifting{model="traffic-signs",domain="day"} 1$/m)
    assert.match(payload, /^bankswitch_drift_rows_total{model="traffic-signs",domain="day",outcome="looked_at"} 60$/m)
    assert.match(payload, /^bankswitch_drift_alarms_total{model="traffic-signs",domain="day"} [1-9]/m)
    assert.ok(service.log.some(({ msg, domain }) => msg === 'pictures drift from the domain' && domain === 'day'))
  })

  it('looks at the rows of a request, and not at what is pinned and not active', async () => {
    const seen = async () => (await service.app.inject(DRIFT)).json().pictures as number
    const known = await seen()
    assert.equal(await ask(service, 'day', 3, runSeed + 100), 200)
    assert.equal(await seen(), known + 3)
    assert.equal(await ask(service, 'day:1', 1, runSeed + 101), 200)
    assert.equal(await seen(), known + 4)
  })

  it('makes a candidate of pictures that fit no domain, which answers when it is pinned and not before it is active otherwise', async () => {
    const list = async () => (await service.app.inject({ url: CANDIDATES, headers: ADMIN })).json().candidates as Array<Record<string, unknown>>
    const own = async () => (await list()).find(({ stream }) => stream === 'camera-7')
    for (let at = 0; at < 600 && await own() === undefined; at++) {
      assert.equal(await ask(service, 'auto', 1, runSeed + 1000 + at, { 'x-stream': 'camera-7' }), 200)
    }
    const candidate = (await own())!
    const { domain, version, images, isActive } = candidate
    assert.deepEqual([version, Number(images) >= IMAGES, isActive], [1, true, false])
    assert.equal(await ask(service, `${String(domain)}:1`, 1, runSeed), 200)
    assert.equal(await ask(service, String(domain), 1, runSeed), 409)
    const body = { method: 'POST', url: `/admin/models/traffic-signs/domains/${String(domain)}/activate`, headers: ADMIN, payload: { version: 1 } } as const
    assert.equal((await service.app.inject(body)).statusCode, 200)
    assert.equal(await ask(service, String(domain), 1, runSeed), 200)
    const report = (await service.app.inject(`/v1/models/traffic-signs/domains/${String(domain)}/drift`)).json()
    assert.equal(report.state, 'notEnoughSeen')
    assert.equal((await own())!.isActive, true)
  })
})
