import assert from 'node:assert/strict'
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { ADMIN_ID, KeyRing } from '#src/access/key-ring.js'
import { makeKey } from '#src/access/key-text.js'
import { createLogger } from '#src/observability/logger.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'
import { testKey, writeKeys, type TestKey } from '../support/keys.js'

const ADMIN_KEY = 'the admin key of the settings'

async function prepare (t: TestContext, ...keys: TestKey[]) {
  const path = join(await temporaryFolder(t), 'keys.json')
  if (keys.length > 0) await writeKeys(path, ...keys)
  const log: string[] = []
  const logger = createLogger('info', { write: (line: string) => { log.push(line) } })
  const open = () => KeyRing.open({ adminKey: ADMIN_KEY, path, logger })
  return { path, log, open, errors: () => log.filter((line) => line.includes('"level":50')).length }
}

describe('KeyRing', () => {
  it('knows the admin key and those of the file, with what they may', async (t) => {
    const key = testKey(['infer', 'read'], { models: ['m'], expiresAt: '2030-01-01T00:00:00Z' })
    const { open } = await prepare(t, key)
    const ring = await open()
    assert.deepEqual(ring.identify(ADMIN_KEY), { id: ADMIN_ID, scopes: new Set(['infer', 'read', 'admin']) })
    assert.deepEqual(ring.identify(key.text), {
      id: key.id, scopes: new Set(['infer', 'read']), models: new Set(['m']), expiresAt: Date.UTC(2030, 0)
    })
  })

  it('knows nobody by a part of a key, a hash, or the secret of another', async (t) => {
    const [key, other] = [testKey(['admin']), testKey(['admin'])]
    const { open } = await prepare(t, key, other)
    const ring = await open()
    const swapped = `bsk_${key.id}_${other.text.slice(-43)}`
    for (const text of ['', key.id, key.record.hash, key.text.slice(0, -1), `${key.text}x`, swapped, makeKey().text, `bsk_${key.id}_${'A'.repeat(43)}`]) {
      assert.equal(ring.identify(text), undefined, text)
    }
  })

  it('has the admin key only, where there is no file, until there is one', async (t) => {
    const key = testKey(['infer'])
    const { open, path, errors } = await prepare(t)
    const ring = await open()
    assert.equal(ring.identify(key.text), undefined)
    await writeKeys(path, key)
    await ring.refresh()
    assert.equal(ring.identify(key.text)?.id, key.id)
    assert.equal(errors(), 0)
  })

  it('follows the file: new keys come, revoked ones go', async (t) => {
    const [first, second] = [testKey(['infer']), testKey(['infer'])]
    const { open, path } = await prepare(t, first)
    const ring = await open()
    await writeKeys(path, first, second)
    await ring.refresh()
    assert.deepEqual([ring.identify(first.text)?.id, ring.identify(second.text)?.id], [first.id, second.id])
    await writeKeys(path, second)
    await ring.refresh()
    assert.deepEqual([ring.identify(first.text)?.id, ring.identify(second.text)?.id], [undefined, second.id])
  })

  it('has at every moment the old keys or the new ones', async (t) => {
    const [first, second, both] = [testKey(['infer']), testKey(['infer']), testKey(['infer'])]
    const { open, path } = await prepare(t, first, both)
    const ring = await open()
    await writeKeys(path, second, both)
    const seen = new Set<string>()
    const look = () => seen.add([first, second, both].map(({ text }) => ring.identify(text) === undefined ? '-' : 'x').join(''))
    const refreshed = ring.refresh().then(() => true)
    const turn = () => new Promise<boolean>((resolve) => { setImmediate(resolve, false) })
    do look()
    while (!await Promise.race([refreshed, turn()]))
    look()
    assert.deepEqual([...seen], ['x-x', '-xx'])
  })

  it('keeps the last good keys when the file is broken or gone, tells it once, and takes the next good one', async (t) => {
    const [first, second] = [testKey(['infer']), testKey(['infer'])]
    const { open, path, errors, log } = await prepare(t, first)
    const ring = await open()
    for (const [times, spoil] of [() => writeFile(path, '{"format": 1, "keys": ['), () => rm(path)].entries()) {
      await spoil()
      await ring.refresh()
      await ring.refresh()
      assert.equal(ring.identify(first.text)?.id, first.id)
      assert.equal(errors(), times + 1)
    }
    await writeKeys(`${path}.new`, second)
    await rename(`${path}.new`, path)
    await ring.refresh()
    assert.equal(ring.identify(first.text), undefined)
    assert.equal(ring.identify(second.text)?.id, second.id)
    assert.ok(!log.join().includes(first.text.slice(-43)) && !log.join().includes(first.record.hash))
  })

  it('refuses to start with a broken file', async (t) => {
    const { open, path } = await prepare(t)
    await writeFile(path, '[]')
    await assert.rejects(open(), hasCode('KEYS_INVALID'))
  })
})
