/** A clock that jumps and file descriptors that run out under a real server. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { getSigns, inferSigns, registerSigns, shippedBank } from '../support/signs.js'
import { limit, startFaulty, until } from './fixtures/faulty-server.js'

const TEN_YEARS_MS = 10 * 365 * 24 * 60 * 60 * 1000

describe('a wall clock that jumps', () => {
  it('ends no request, hides no version and turns no order around', async (t) => {
    const server = await startFaulty(t)
    const bank = await shippedBank('fog')
    const years: string[] = []
    for (const jump of [TEN_YEARS_MS, -TEN_YEARS_MS, 0]) {
      await server.begin('clock', String(jump))
      const patient = Array.from({ length: 8 }, () => {
        return inferSigns(server.address, 'day', { rows: 8, headers: { 'x-timeout-ms': '600000' } })
      })
      // The first answer shows that the others are under way when the clock jumps back.
      await Promise.race(patient)
      await server.end('clock')
      for (const { status } of await Promise.all(patient)) assert.equal(status, 200)
      await server.begin('clock', String(jump))
      assert.equal((await registerSigns(server.address, 'mist', bank)).status, 201)
      await server.end('clock')
    }
    const { bytes } = await getSigns(server.address, '/admin/models/traffic-signs/domains/mist/versions')
    const { versions } = JSON.parse(bytes.toString()) as { versions: Array<{ version: number, active: boolean, createdAt: string }> }
    for (const { createdAt } of versions) years.push(createdAt.slice(0, 4))
    const now = new Date().getFullYear()
    assert.ok(years.some((year) => Math.abs(Number(year) - now) > 5), 'the clock did jump')
    const active = versions.filter((one) => one.active)
    assert.deepEqual(active.map(({ version }) => version), [3])
    const seconds = await server.metric('bankswitch_http_request_seconds_sum\\{route="/v2/models/:model/infer"\\}')
    assert.ok(seconds > 0 && seconds < 600, `requests took ${seconds} s together`)
  })
})

describe('file descriptors that run out', () => {
  it('cost new connections only, and the server recovers', {
    skip: process.platform === 'linux' ? false : 'prlimit and /proc are of Linux'
  }, async (t) => {
    const server = await startFaulty(t)
    const pid = server.child.pid!
    const bank = await shippedBank('fog')
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    t.after(() => agent.destroy())
    assert.equal(await ask(agent, `${server.address}/v2/models/traffic-signs`), 200)
    const open = (await readdir(`/proc/${pid}/fd`)).length
    limit(pid, 'nofile', open + 10)
    const { port, hostname } = new URL(server.address)
    const sockets = Array.from({ length: 100 }, () => connect(Number(port), hostname))
    t.after(() => { for (const socket of sockets) socket.destroy() })
    await Promise.all(sockets.map(settled))
    await until(async () => (await readdir(`/proc/${pid}/fd`)).length >= open + 10)
    for (const path of ['/livez', '/readyz', '/v2/models/traffic-signs']) {
      assert.equal(await ask(agent, `${server.address}${path}`), 200, path)
    }
    assert.equal(await ask(agent, `${server.address}/admin/models/traffic-signs/domains/mist`, 'PUT', bank), 503)
    // A bank that cannot be read now is not taken for a corrupt one.
    assert.equal(await ask(agent, `${server.address}/admin/models/traffic-signs/domains/fog/versions/1`), 503)
    for (const socket of sockets) socket.destroy()
    await until(async () => (await readdir(`/proc/${pid}/fd`)).length <= open + 1)
    assert.equal((await registerSigns(server.address, 'mist', bank)).status, 201)
    assert.equal((await inferSigns(server.address, 'mist')).status, 200)
    server.child.kill('SIGTERM')
    assert.equal(await server.ended, 0)
  })
})

/** Connected, or refused. */
async function settled (socket: Socket): Promise<void> {
  socket.on('error', () => {})
  await Promise.race([once(socket, 'connect'), once(socket, 'close')]).catch(() => {})
}

function ask (agent: Agent, url: string, method = 'GET', body?: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: 'Bearer a-key-for-the-tests-only', 'content-type': 'application/octet-stream' }
    request(url, { agent, method, headers }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode!))
    }).on('error', reject).end(body)
  })
}
