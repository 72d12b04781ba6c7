/** Inference threads that die or never come back, in a real server. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { getSigns, inferSigns } from '../support/signs.js'
import { startFaulty, until } from './fixtures/faulty-server.js'

/** Long enough for any honest run on a busy machine. */
const RUN_MS = '3000'

describe('an inference thread', () => {
  it('is replaced when it is killed in a run, and nobody notices', async (t) => {
    const server = await startFaulty(t)
    const before = await inferSigns(server.address, 'day')
    assert.equal(before.status, 200)
    await server.begin('kill')
    const answers = await Promise.all(Array.from({ length: 8 }, () => inferSigns(server.address, 'day')))
    for (const { status, bytes } of answers) {
      assert.equal(status, 200)
      assert.ok(bytes.equals(before.bytes))
    }
    assert.equal(await server.metric('bankswitch_worker_restarts_total'), 1)
  })

  it('is set aside when its run never ends: its request gets a 503, the others their answers', async (t) => {
    const server = await startFaulty(t, { BANKSWITCH_RUN_MS: RUN_MS })
    const before = await inferSigns(server.address, 'day')
    await server.begin('stick')
    const answers = await Promise.all(['day', 'fog', 'lowres'].map((domain) => inferSigns(server.address, domain)))
    assert.deepEqual(answers.map(({ status }) => status).toSorted(), [200, 200, 503])
    assert.equal(answers.find(({ status }) => status === 503)!.code, 'RUN_STUCK')
    assert.equal(await server.metric('bankswitch_workers_stuck'), 1)
    assert.equal((await getSigns(server.address, '/readyz')).status, 200)
    const again = await inferSigns(server.address, 'day')
    assert.ok(again.bytes.equals(before.bytes))
    await server.openGate()
    await until(async () => await server.metric('bankswitch_workers_stuck') === 0)
    assert.equal(server.child.exitCode, null)
    assert.equal((await inferSigns(server.address, 'day')).status, 200)
    server.child.kill('SIGTERM')
    assert.equal(await server.ended, 0)
  })

  it('when all are stuck: every request is refused at once, health says so, and the process can still be stopped', async (t) => {
    const server = await startFaulty(t, { BANKSWITCH_RUN_MS: RUN_MS })
    for (const which of ['the worker', 'the one in its place']) {
      await server.begin('stick')
      assert.equal((await inferSigns(server.address, 'day')).code, 'RUN_STUCK', which)
    }
    assert.equal((await inferSigns(server.address, 'day')).code, 'WORKERS_STUCK')
    assert.equal((await getSigns(server.address, '/readyz')).code, 'SERVER_NOT_READY')
    assert.equal((await getSigns(server.address, '/livez')).code, 'WORKERS_STUCK')
    assert.notEqual((await getSigns(server.address, '/v2/health/ready')).status, 200)
    server.child.kill('SIGTERM')
    assert.equal(await server.ended, 'SIGKILL')
    assert.ok(server.stdout().includes('inference threads are still in a run'))
  })
})
