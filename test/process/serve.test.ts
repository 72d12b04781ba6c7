import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { temporaryFolder } from '../support/folders.js'
import { cleanEnvironment, MAIN, startProcess } from '../support/process.js'
import { signsSettings } from '../support/signs.js'
import { binaryRequest } from '../support/wire.js'

async function settingsIn (t: TestContext): Promise<{ folder: string, settings: Record<string, string> }> {
  const folder = await temporaryFolder(t)
  return { folder, settings: await signsSettings(folder) }
}

const infer = async (address: string, domain: string, rows = 1) => {
  const values = Float32Array.from({ length: rows * 3072 }, (_, at) => Math.cos(at))
  const { payload, headers } = binaryRequest({ shape: [rows, 3, 32, 32], values })
  const response = await fetch(`${address}/v2/models/traffic-signs/infer`, {
    method: 'POST', body: new Uint8Array(payload), headers: { ...headers, 'x-domain': domain }
  })
  return { status: response.status, bytes: Buffer.from(await response.arrayBuffer()) }
}

describe('bankswitch serve', () => {
  it('makes an admin key once, mode 0600, and logs its path only', async (t) => {
    const { folder, settings } = await settingsIn(t)
    const first = await startProcess(t, settings, folder)
    const path = join(folder, '.bankswitch/admin.key')
    const key = (await readFile(path, 'utf8')).trim()
    assert.equal((await stat(path)).mode & 0o777, 0o600)
    assert.ok(key.length >= 40)
    assert.ok(first.stdout().includes(path))
    assert.ok(!first.stdout().includes(key))
    first.child.kill('SIGTERM')
    assert.equal(await first.ended, 0)
    const second = await startProcess(t, settings, folder)
    assert.equal((await readFile(path, 'utf8')).trim(), key)
    const versions = await fetch(`${second.address}/admin/models/traffic-signs/domains/day/versions`, {
      headers: { authorization: `Bearer ${key}` }
    })
    assert.equal(versions.status, 200)
  })

  it('keeps what it acknowledged through kill -9', async (t) => {
    const { folder, settings } = await settingsIn(t)
    const key = 'a-key-for-the-tests-only'
    const withKey = { ...settings, BANKSWITCH_ADMIN_KEY: key }
    const first = await startProcess(t, withKey, folder)
    const authorization = `Bearer ${key}`
    const fog = await fetch(`${first.address}/admin/models/traffic-signs/domains/fog/versions/1`, { headers: { authorization } })
    const put = await fetch(`${first.address}/admin/models/traffic-signs/domains/mist`, {
      method: 'PUT',
      headers: { authorization, 'content-type': 'application/octet-stream' },
      body: await fog.arrayBuffer()
    })
    assert.equal(put.status, 201)
    const before = await infer(first.address, 'mist')
    assert.equal(before.status, 200)
    first.child.kill('SIGKILL')
    assert.equal(await first.ended, 'SIGKILL')
    const second = await startProcess(t, withKey, folder)
    const after = await infer(second.address, 'mist')
    assert.equal(after.status, 200)
    assert.ok(after.bytes.equals(before.bytes))
  })

  it('answers what it let in when it is told to stop, and exits with 0', async (t) => {
    const { folder, settings } = await settingsIn(t)
    const server = await startProcess(t, settings, folder)
    await infer(server.address, 'day')
    const sent = Array.from({ length: 20 }, () => infer(server.address, 'day', 32))
    // The first answer shows that the others have been let in: they were sent before it came back.
    await Promise.race(sent)
    server.child.kill('SIGTERM')
    const answers = await Promise.all(sent)
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
    assert.equal(await server.ended, 0)
  })

  it('lists every fault of its settings at once and exits with 65', () => {
    const result = spawnSync(process.execPath, [MAIN, 'serve', '--prot', '1', '--workers', '0'], {
      env: cleanEnvironment({ BANKSWITCH_PORT: 'http', BANKSWITCH_COLOUR: 'red', BANKSWITCH_ADMIN_KEY: 'short' }), encoding: 'utf8'
    })
    assert.equal(result.status, 65)
    for (const fault of ['--prot', '--workers', 'BANKSWITCH_PORT', 'BANKSWITCH_COLOUR', 'BANKSWITCH_ADMIN_KEY']) {
      assert.ok(result.stderr.includes(fault), `${fault} is missing in:\n${result.stderr}`)
    }
    assert.ok(!result.stderr.includes('short'))
  })

  it('refuses a command that does not exist', () => {
    const result = spawnSync(process.execPath, [MAIN, 'severs'], { env: cleanEnvironment({}), encoding: 'utf8' })
    assert.equal(result.status, 64)
    assert.match(result.stderr, /severs/)
  })

  it('says its version and helps', () => {
    const run = (...argv: string[]) => spawnSync(process.execPath, [MAIN, ...argv], { env: cleanEnvironment({}), encoding: 'utf8' })
    assert.match(run('--version').stdout, /^\d+\.\d+\.\d+\n$/)
    assert.match(run('--help').stdout, /serve/)
    assert.match(run('register', '--help').stdout, /--domain/)
  })
})
