import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { temporaryFolder } from '../support/folders.js'
import { cleanEnvironment, MAIN, startProcess, type RunningProcess } from '../support/process.js'
import { signsSettings } from '../support/signs.js'

const run = (folder: string, ...argv: string[]) => spawnSync(process.execPath, [MAIN, 'keys', ...argv], {
  cwd: folder, env: cleanEnvironment({ BANKSWITCH_KEYS_FILE: 'state/keys.json' }), encoding: 'utf8'
})

function add (folder: string, ...argv: string[]): { key: string, id: string } {
  const { status, stdout, stderr } = run(folder, 'add', ...argv)
  assert.equal(status, 0, stderr)
  const [, key, id] = /^(bsk_([0-9a-f]{12})_[\w-]{43})\n$/.exec(stdout) ?? assert.fail(stdout)
  assert.ok(!stderr.includes(key!))
  return { key: key!, id: id! }
}

describe('bankswitch keys', () => {
  it('adds, lists without secrets, revokes', async (t) => {
    const folder = await temporaryFolder(t)
    assert.deepEqual(JSON.parse(run(folder, 'list', '--json').stdout), [])
    const first = add(folder, '--scope', 'infer', '--label', 'the gate\u001b[31m', '--expires', '90d')
    const second = add(folder, '--scope', 'admin', '--scope', 'read', '--model', 'a', '--model', 'b', '--expires', '2999-01-31T00:00:00Z')
    const file = await readFile(join(folder, 'state/keys.json'), 'utf8')
    assert.equal((await stat(join(folder, 'state/keys.json'))).mode & 0o777, 0o600)
    const [table, json] = [run(folder, 'list').stdout, run(folder, 'list', '--json').stdout]
    for (const text of [file, table, json]) {
      assert.ok(text.includes(first.id) && text.includes(second.id), text)
      assert.ok(!text.includes(first.key.slice(-43)) && !text.includes(second.key.slice(-43)))
    }
    assert.ok(!table.includes('\u001b') && !json.includes('hash'))
    const [shown, limited] = JSON.parse(json) as Array<Record<string, unknown>>
    assert.deepEqual({ ...shown, createdAt: 0, expiresAt: 0 }, {
      id: first.id, label: 'the gate\u001b[31m', scopes: ['infer'], createdAt: 0, expiresAt: 0, expired: false
    })
    assert.equal(Date.parse(String(shown!.expiresAt)) - Date.parse(String(shown!.createdAt)), 90 * 86_400_000)
    assert.deepEqual([limited!.scopes, limited!.models, limited!.expiresAt], [['admin', 'read'], ['a', 'b'], '2999-01-31T00:00:00.000Z'])
    assert.equal(run(folder, 'revoke', first.id).status, 0)
    assert.deepEqual((JSON.parse(run(folder, 'list', '--json').stdout) as Array<{ id: string }>).map(({ id }) => id), [second.id])
  })

  it('tells what is wrong', async (t) => {
    const { status, stderr, stdout } = run(await temporaryFolder(t), 'add', '--scope', 'root')
    assert.equal(status, 65, stderr)
    assert.match(stderr, /not "root"/)
    assert.equal(stdout, '')
  })

  it('changes the keys of a server that runs, which never loses those that stay', async (t) => {
    const folder = await temporaryFolder(t)
    const settings = await signsSettings(folder)
    const old = add(folder, '--scope', 'read')
    const server = await startProcess(t, { ...settings, BANKSWITCH_KEYS_FILE: 'state/keys.json' }, folder)
    const status = async (key: string) => (await fetch(`${server.address}/admin/jobs`, { headers: { authorization: `Bearer ${key}` } })).status
    assert.equal(await status(old.key), 200)
    const taken = linesWith(server, 'the keys in this file are in force', 2)
    const fresh = add(folder, '--scope', 'read')
    while (await status(fresh.key) !== 200) assert.equal(await status(old.key), 200)
    await taken
    const takenAgain = linesWith(server, 'the keys in this file are in force', 3)
    assert.equal(run(folder, 'revoke', old.id).status, 0)
    await takenAgain
    assert.deepEqual([await status(old.key), await status(fresh.key)], [401, 200])
    const failed = linesWith(server, 'those from before stay in force', 1)
    await writeFile(join(folder, 'state/keys.json'), '{"format": 1, "keys": [')
    await failed
    assert.equal(await status(fresh.key), 200)
    const adminKey = (await readFile(join(folder, '.bankswitch/admin.key'), 'utf8')).trim()
    assert.equal(await status(adminKey), 200)
    for (const { key } of [old, fresh]) assert.ok(!server.stdout().includes(key.slice(-43)))
  })
})

/** Resolves when the log has so many lines with a text. */
async function linesWith ({ child, stdout }: RunningProcess, text: string, count: number): Promise<void> {
  while (stdout().split(text).length <= count) await once(child.stdout!, 'data')
}
