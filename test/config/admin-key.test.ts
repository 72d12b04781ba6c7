import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { test } from 'node:test'
import { obtainAdminKey } from '#src/config/admin-key.js'
import { BankswitchError } from '#src/base/errors.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'

const PERMISSIONS = 0o777

test('a key is made once, for its owner\'s eyes only, and used from then on', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'state', 'deep', 'admin.key')
  const made = await obtainAdminKey({ adminKeyFile: path })
  assert.deepEqual({ ...made, key: '' }, { key: '', path, isNew: true })
  assert.match(made.key, /^[A-Za-z0-9_-]{43}$/, '32 random bytes')
  assert.equal((await stat(path)).mode & PERMISSIONS, 0o600)
  assert.equal(await readFile(path, 'utf8'), `${made.key}\n`)
  assert.deepEqual(await readdir(join(folder, 'state', 'deep')), ['admin.key'])
  assert.deepEqual(await obtainAdminKey({ adminKeyFile: path }), { ...made, isNew: false })
})

test('no two keys are alike', async (t) => {
  const folder = await temporaryFolder(t)
  const keys = await Promise.all(['a', 'b', 'c'].map(async (name) => {
    return (await obtainAdminKey({ adminKeyFile: join(folder, name) })).key
  }))
  assert.equal(new Set(keys).size, 3)
})

test('a key of the user\'s own, with space around it', async (t) => {
  const path = join(await temporaryFolder(t), 'admin.key')
  await writeFile(path, '  sixteen letters!\n\n')
  assert.deepEqual(await obtainAdminKey({ adminKeyFile: path }), { key: 'sixteen letters!', path, isNew: false })
})

test('a key file that is too short is refused, not replaced, and the key not shown', async (t) => {
  const path = join(await temporaryFolder(t), 'admin.key')
  const short = [['', 0], ['\n', 0], ['fifteen letters', 15], ['      hunter2         \n', 7]] as const
  for (const [content, length] of short) {
    await writeFile(path, content)
    await assert.rejects(obtainAdminKey({ adminKeyFile: path }), (error: unknown) => {
      assert.ok(hasCode('CONFIG_INVALID', { expected: 'at least 16 characters', received: length })(error))
      const { message, details } = error as BankswitchError
      assert.ok(message.includes(path))
      return !/hunter2|fifteen/.test(message + JSON.stringify(details))
    })
    assert.equal(await readFile(path, 'utf8'), content)
  }
})

test('a key from the settings needs no file, and neither makes nor reads one', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'admin.key')
  const adminKey = 'a key from the settings'
  assert.deepEqual(await obtainAdminKey({ adminKey, adminKeyFile: path }), { key: adminKey, isNew: false })
  assert.deepEqual(await readdir(folder), [])
  await writeFile(path, 'another key, in a file')
  assert.equal((await obtainAdminKey({ adminKey, adminKeyFile: path })).key, adminKey)
})

test('the path is told in full', async (t) => {
  const path = join(await temporaryFolder(t), 'admin.key')
  const made = await obtainAdminKey({ adminKeyFile: relative(process.cwd(), path) })
  assert.equal(made.path, path)
})

test('what cannot be read or made rejects with its errno', async (t) => {
  const folder = await temporaryFolder(t)
  await mkdir(join(folder, 'admin.key'))
  await writeFile(join(folder, 'file'), '')
  await assert.rejects(obtainAdminKey({ adminKeyFile: join(folder, 'admin.key') }), { code: 'EISDIR' })
  await assert.rejects(obtainAdminKey({ adminKeyFile: join(folder, 'file', 'admin.key') }), { code: 'ENOTDIR' })
})
