import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { it } from 'node:test'
import { changeKeyFile, readKeyFile } from '#src/access/key-file.js'
import { hasCode } from '../support/errors.js'
import { interceptFileSystem } from '../store/fixtures/file-system-calls.js'
import { temporaryFolder } from '../support/folders.js'
import { gate } from '../support/gate.js'
import { testKey, writeKeys } from '../support/keys.js'

it('is made with its folder, mode 0600, and holds no secret', async (t) => {
  const path = join(await temporaryFolder(t), 'deep', 'keys.json')
  assert.equal(await readKeyFile(path), undefined)
  const key = testKey(['infer'])
  await writeKeys(path, key)
  assert.deepEqual(await readKeyFile(path), [key.record])
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.ok(!(await readFile(path, 'utf8')).includes(key.text.slice(-43)))
  assert.deepEqual(await readdir(dirname(path)), ['keys.json'])
})

it('loses no change of several writers at once', async (t) => {
  const path = join(await temporaryFolder(t), 'keys.json')
  const keys = Array.from({ length: 8 }, () => testKey(['infer']))
  await Promise.all(keys.map(({ record }) => changeKeyFile(path, (known) => [...known, record])))
  assert.deepEqual(new Set((await readKeyFile(path))!.map(({ id }) => id)), new Set(keys.map(({ id }) => id)))
})

it('loses none either when two find the lock of a writer that crashed', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'keys.json')
  await writeFile(`${path}.lock`, '{"pid":1,"host":"gone","since":"2020-01-01T00:00:00.000Z"}')
  const minuteAgo = Date.now() / 1000 - 60
  await utimes(`${path}.lock`, minuteAgo, minuteAgo)
  const [one, other] = [testKey(['infer']), testKey(['infer'])]
  const add = ({ record }: typeof one) => changeKeyFile(path, (known) => [...known, record])
  const { reached, pass, open } = gate()
  let isWritten = false
  let second: Promise<void> | undefined
  // Whoever would clear the lock away before it has written is overtaken by another, up to that one's own writing.
  const restore = await interceptFileSystem(async ({ name, path: about, rest }, proceed) => {
    if (name === 'rename' && rest[0] === path) {
      const isFirst = !isWritten
      isWritten = true
      if (second !== undefined && isFirst) await pass()
    }
    if (name === 'rm' && about === `${path}.lock` && !isWritten && second === undefined) {
      second = add(other)
      await reached
    }
    return await proceed()
  })
  try {
    await add(one).finally(open)
    await (second ?? add(other))
  } finally {
    restore()
  }
  assert.deepEqual(new Set((await readKeyFile(path))!.map(({ id }) => id)), new Set([one.record.id, other.record.id]))
  assert.deepEqual(await readdir(folder), ['keys.json'])
})

it('stays as it was when the change fails, is refused, or would destroy a broken file', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'keys.json')
  const key = testKey(['infer'])
  await writeKeys(path, key)
  await assert.rejects(changeKeyFile(path, () => { throw new Error('no') }), /no/)
  await assert.rejects(changeKeyFile(path, (known) => [...known, key.record]), hasCode('KEYS_INVALID'))
  assert.deepEqual(await readKeyFile(path), [key.record])
  await writeFile(path, '{"format": 1')
  await assert.rejects(changeKeyFile(path, () => []), hasCode('KEYS_INVALID'))
  assert.equal(await readFile(path, 'utf8'), '{"format": 1')
  assert.deepEqual(await readdir(folder), ['keys.json'])
})

it('is refused when it is no file, or too large', async (t) => {
  const folder = await temporaryFolder(t)
  await mkdir(join(folder, 'keys.json'))
  await assert.rejects(readKeyFile(join(folder, 'keys.json')), hasCode('KEYS_INVALID'))
  await writeFile(join(folder, 'large'), Buffer.alloc(16 * 2 ** 20 + 1, ' '))
  await assert.rejects(readKeyFile(join(folder, 'large')), hasCode('KEYS_INVALID', { received: 16 * 2 ** 20 + 1 }))
})
