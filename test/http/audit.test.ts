import assert from 'node:assert/strict'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { noReport } from '#src/serving/answering/shadows.js'
import { servingErrors } from '#src/serving/errors.js'
import { bareApp, type BareApp } from '../support/bare-app.js'
import { formOf } from '../support/form.js'
import { registeredRoutes } from '../support/registered-routes.js'
import { ADMIN, ADMIN_KEY, startService, type Service } from '../support/service.js'
import type { Caller } from '#src/access/caller.js'

const MODEL = '/admin/models/traffic-signs'

const ADMINISTRATOR: Caller = { id: 'somebody', scopes: new Set(['read', 'admin']) }
const TOLD = '/admin/models/m/domains/told'
const JOB = { id: '00000000-0000-4000-8000-000000000000', state: 'queued', progress: 0, subject: { model: 'm', domain: 'told' }, createdAt: '' }

/** An engine whose every change succeeds: version 5 is stored, and 3 is active afterwards. */
function obligingEngine () {
  const versions = [{ version: 3, digest: 'd', fingerprint: 'f', source: 'json', bytes: 1, createdAt: '' }]
  const record = { domain: 'told', active: 3, revision: 9, previous: [], versions, shadow: { version: 2, percent: 1 } }
  const stored = { record, version: { version: 5, digest: 'd' }, ignored: [], warnings: [], images: 8 }
  const gives = (value?: unknown) => async () => value
  return {
    model: () => ({ entry: { manifest: { defaultDomain: 'day' } } }),
    readyModel: () => ({}),
    domain: () => record,
    candidates: () => ({ candidates: [], left: [] }),
    answering: { namedInPath: () => ({ domain: 'told' }) },
    admin: {
      versionToLoad: () => 3,
      register: gives(stored),
      registerBlend: gives({ ...stored, blend: 'day:1=1' }),
      download: gives({ file: new Uint8Array(1), version: { digest: 'd' } }),
      gate: gives(new Uint8Array(1)),
      removeDomain: gives(),
      shadow: () => noReport(2, 3),
      ...Object.fromEntries(['activate', 'rollBack', 'mark', 'setGate', 'removeGate', 'deactivate', 'removeVersion'].map((verb) => [verb, gives(record)]))
    },
    calibrations: { requireRoom: () => {}, start: gives(JOB), contribute: gives(stored), jobs: () => [JOB], job: () => JOB, cancel: gives(JOB) }
  }
}

describe('every admin route', () => {
  const about = { model: 'm', domain: 'told' }
  const file = { payload: Buffer.from('x'), headers: { 'content-type': 'application/octet-stream' } }
  const tensor = (name: string) => [{ name, datatype: 'FP32', shape: [1], data: [1] }]
  const goldens = Buffer.from(JSON.stringify({ inputs: tensor('x'), expected: tensor('y') }))
  const calls: Record<string, [url: string, subject: object, body?: { payload: object, headers?: Record<string, string> }]> = {
    'PUT /admin/models/:model/domains/:domain': [TOLD, { ...about, version: 5 }, file],
    'GET /admin/models/:model/domains/:domain/versions': [`${TOLD}/versions`, about],
    'GET /admin/models/:model/domains/:domain/versions/:version': [`${TOLD}/versions/4`, { ...about, version: 4 }],
    'DELETE /admin/models/:model/domains/:domain/versions/:version': [`${TOLD}/versions/4`, { ...about, version: 4 }],
    'POST /admin/models/:model/domains/:domain/activate': [`${TOLD}/activate`, { ...about, version: 2 }, { payload: { version: 2 } }],
    'POST /admin/models/:model/domains/:domain/rollback': [`${TOLD}/rollback`, { ...about, version: 3 }],
    'DELETE /admin/models/:model/domains/:domain': [TOLD, about],
    'PUT /admin/models/:model/domains/:domain/labels/:label': [`${TOLD}/labels/good`, { ...about, version: 2 }, { payload: { version: 2 } }],
    'DELETE /admin/models/:model/domains/:domain/labels/:label': [`${TOLD}/labels/good`, about],
    'PUT /admin/models/:model/domains/:domain/canary': [`${TOLD}/canary`, { ...about, version: 2 }, { payload: { version: 2, percent: 5 } }],
    'DELETE /admin/models/:model/domains/:domain/canary': [`${TOLD}/canary`, about],
    'PUT /admin/models/:model/domains/:domain/shadow': [`${TOLD}/shadow`, { ...about, version: 2 }, { payload: { version: 2, percent: 5 } }],
    'DELETE /admin/models/:model/domains/:domain/shadow': [`${TOLD}/shadow`, about],
    'GET /admin/models/:model/domains/:domain/shadow': [`${TOLD}/shadow`, about],
    'PUT /admin/models/:model/domains/:domain/gate': [`${TOLD}/gate`, about, { payload: goldens, headers: { 'content-type': 'application/json' } }],
    'GET /admin/models/:model/domains/:domain/gate': [`${TOLD}/gate`, about],
    'DELETE /admin/models/:model/domains/:domain/gate': [`${TOLD}/gate`, about],
    'POST /admin/models/:model/domains/:domain/blend': [`${TOLD}/blend`, { ...about, version: 5 }, { payload: { blend: 'day=1' } }],
    'POST /admin/models/:model/domains/:domain/calibrations': [`${TOLD}/calibrations`, about, formOf({}, [{ field: 'images', name: 'a.png', bytes: Buffer.from('x') }])],
    'POST /admin/models/:model/domains/:domain/contributions': [`${TOLD}/contributions`, { ...about, version: 5 }, file],
    'GET /admin/models/:model/candidates': ['/admin/models/m/candidates', { model: 'm' }],
    'GET /admin/calls': ['/admin/calls', {}],
    'GET /admin/jobs': ['/admin/jobs', {}],
    'GET /admin/jobs/:id': [`/admin/jobs/${JOB.id}`, about],
    'DELETE /admin/jobs/:id': [`/admin/jobs/${JOB.id}`, about],
    'POST /v2/repository/models/:model/load': ['/v2/repository/models/m@told/load', { ...about, version: '3' }],
    'POST /v2/repository/models/:model/unload': ['/v2/repository/models/m@told/unload', about]
  }
  const engine = obligingEngine()
  let bare: BareApp
  const lastLine = async () => JSON.parse((await readFile(bare.auditFile, 'utf8')).trim().split('\n').at(-1)!) as Record<string, unknown>
  const call = async (route: string) => {
    const [url, , body] = calls[route]!
    return await bare.app.inject({ method: route.split(' ')[0] as 'GET', url, headers: { authorization: 'Bearer x', ...body?.headers }, ...(body === undefined ? {} : { payload: body.payload }) })
  }
  before(async () => { bare = await bareApp({}, { engine, caller: ADMINISTRATOR }) })
  after(() => bare.close())

  it('is known here', () => {
    const routes = registeredRoutes(bare.app).filter((route) => / \/admin\/| \/v2\/repository\/models\//.test(route))
    assert.deepEqual(Object.keys(calls).toSorted(), routes.toSorted())
  })

  for (const [route, [url, subject]] of Object.entries(calls)) {
    it(`${route} names what it was about`, async () => {
      const { statusCode, payload } = await call(route)
      assert.ok(statusCode >= 200 && statusCode < 300, `${statusCode} ${payload}`)
      const { time: _time, requestId: _id, ...line } = await lastLine()
      assert.deepEqual(line, { address: '127.0.0.1', keyId: 'somebody', method: route.split(' ')[0], path: url, ...subject, status: statusCode, outcome: 'ok' })
    })
  }

  it('names a version that is stored, but that its gate keeps from being activated', async () => {
    for (const [route, room, verb] of [
      ['PUT /admin/models/:model/domains/:domain', engine.admin, 'register'],
      ['POST /admin/models/:model/domains/:domain/contributions', engine.calibrations, 'contribute']
    ] as const) {
      const before = (room as Record<string, unknown>)[verb]
      Object.assign(room, { [verb]: async () => { throw servingErrors.GATE_FAILED('it is off', { version: 6 }) } })
      await call(route)
      Object.assign(room, { [verb]: before })
      const { model, domain, version, status, outcome } = await lastLine()
      assert.deepEqual({ model, domain, version, status, outcome }, { ...about, version: 6, status: 409, outcome: 'GATE_FAILED' })
    }
  })

  it('is told by its path and the error\'s code when no handler saw it, or one failed', async () => {
    const refused = await bare.app.inject({ method: 'POST', url: `${TOLD}/activate`, headers: { authorization: 'Bearer x' }, payload: { version: 'x' } })
    const told = async () => {
      const { model, domain, version, status, outcome } = await lastLine()
      return { model, domain, version, status, outcome }
    }
    assert.equal(refused.statusCode, 400)
    assert.deepEqual(await told(), { ...about, version: undefined, status: 400, outcome: 'REQUEST_INVALID' })
    Object.assign(engine.admin, { activate: async () => { throw new Error('unforeseen') } })
    await call('POST /admin/models/:model/domains/:domain/activate')
    assert.deepEqual(await told(), { ...about, version: 2, status: 500, outcome: 'INTERNAL' })
    const onlyReads = await bareApp({}, { engine, caller: { id: 'reader', scopes: new Set(['read']) } })
    try {
      await onlyReads.app.inject({ method: 'POST', url: '/v2/repository/models/m@told:7/load', headers: { authorization: 'Bearer x' }, payload: {} })
      const { keyId, model, domain, version, outcome } = JSON.parse(await readFile(onlyReads.auditFile, 'utf8')) as Record<string, unknown>
      assert.deepEqual({ keyId, model, domain, version, outcome }, { keyId: 'reader', ...about, version: '7', outcome: 'SCOPE_MISSING' })
    } finally {
      await onlyReads.close()
    }
  })
})

describe('audit log', () => {
  let service: Service
  let path: string
  const call = (method: 'GET' | 'PUT' | 'POST' | 'DELETE', url: string, payload?: object | Buffer, headers = {}) => {
    return service.app.inject({ method, url, headers: { ...ADMIN, ...headers }, ...(payload === undefined ? {} : { payload: payload as object }) })
  }
  const lines = async () => {
    return (await readFile(path, 'utf8')).split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, unknown>)
  }

  before(async () => {
    service = await startService()
    path = join(service.storeDir, '..', 'audit.jsonl')
  })
  after(() => service.close())

  it('has a line for each admin call, with what it was about and how it ended', async () => {
    const bank = (await call('GET', `${MODEL}/domains/day/versions/1`)).rawPayload
    const put = await call('PUT', `${MODEL}/domains/told?activate=true`, bank, { 'content-type': 'application/octet-stream' })
    await call('POST', `${MODEL}/domains/told/activate`, { version: 1 })
    await call('POST', `${MODEL}/domains/told/activate`, { version: 7 })
    await call('POST', '/v2/repository/models/traffic-signs@told:1/load')
    await call('DELETE', `${MODEL}/domains/told`)
    const told = (await lines()).map(({ time, requestId, ...rest }) => {
      assert.match(String(time), /^\d{4}-.*Z$/)
      assert.match(String(requestId), /^[0-9a-f-]{36}$/)
      return rest
    })
    const about = { address: '127.0.0.1', keyId: 'admin', model: 'traffic-signs', domain: 'told' }
    assert.deepEqual(told, [
      { method: 'GET', path: `${MODEL}/domains/day/versions/1`, ...about, domain: 'day', version: 1, status: 200, outcome: 'ok' },
      { method: 'PUT', path: `${MODEL}/domains/told`, ...about, version: 1, status: 201, outcome: 'ok' },
      { method: 'POST', path: `${MODEL}/domains/told/activate`, ...about, version: 1, status: 200, outcome: 'ok' },
      { method: 'POST', path: `${MODEL}/domains/told/activate`, ...about, version: 7, status: 404, outcome: 'VERSION_NOT_FOUND' },
      { method: 'POST', path: '/v2/repository/models/traffic-signs@told:1/load', ...about, version: '1', status: 200, outcome: 'ok' },
      { method: 'DELETE', path: `${MODEL}/domains/told`, ...about, status: 204, outcome: 'ok' }
    ])
    const ids = (await lines()).map(({ requestId }) => requestId)
    assert.ok(ids.includes(put.headers['x-request-id']))
    assert.ok(!(await readFile(path, 'utf8')).includes(ADMIN_KEY))
  })

  it('has none for what needs no key, or comes without one', async () => {
    const before = (await lines()).length
    await service.app.inject('/v1/models')
    await call('DELETE', `${MODEL}/domains/day`, undefined, { authorization: 'Bearer wrong' })
    await call('GET', '/admin/nothing')
    assert.equal((await lines()).length, before)
  })

  it('that cannot be written fails the call, once, and takes the next one when it can', async () => {
    await rm(path)
    await mkdir(path)
    const failed = await call('POST', `${MODEL}/domains/day/activate`, { version: 1 })
    assert.equal(failed.statusCode, 503)
    assert.equal(failed.json().code, 'AUDIT_UNWRITABLE')
    assert.equal((await service.app.inject('/v1/models')).statusCode, 200)
    await rm(path, { recursive: true })
    assert.equal((await call('POST', `${MODEL}/domains/day/activate`, { version: 1 })).statusCode, 200)
    assert.equal((await lines()).length, 1)
  })
})
