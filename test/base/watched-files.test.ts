import assert from 'node:assert/strict'
import { mkdir, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { WatchedFiles } from '#src/base/watched-files.js'
import { temporaryFolder } from '../support/folders.js'

async function prepare (t: TestContext, isDealtWith = () => true) {
  const folder = await temporaryFolder(t)
  const [a, b] = [join(folder, 'a'), join(folder, 'b')]
  await writeFile(a, 'one')
  let changes = 0
  const files = await WatchedFiles.open([a, b], async () => {
    changes++
    return isDealtWith()
  })
  const changesAfter = async (change?: () => Promise<unknown>) => {
    changes = 0
    await change?.()
    await files.check()
    return changes
  }
  return { folder, a, b, files, changesAfter }
}

describe('WatchedFiles', () => {
  it('tells of a file that is written, replaced, made or removed, once each', async (t) => {
    const { a, b, changesAfter } = await prepare(t)
    assert.equal(await changesAfter(), 0)
    const changes = [
      () => writeFile(a, 'longer'),
      () => writeFile(b, 'one'),
      () => rename(b, a),
      () => rm(a),
      () => writeFile(a, 'again')
    ]
    for (const change of changes) {
      assert.equal(await changesAfter(change), 1, String(change))
      assert.equal(await changesAfter(), 0, String(change))
    }
  })

  it('tells of a file of the same size and time that took the place', async (t) => {
    const { a, b, changesAfter } = await prepare(t)
    await utimes(a, 1, 1)
    await changesAfter()
    assert.equal(await changesAfter(async () => {
      await writeFile(`${b}.new`, 'two')
      await utimes(`${b}.new`, 1, 1)
      await rename(`${b}.new`, a)
    }), 1)
  })

  it('looks through symbolic links, as mounted secrets are replaced', async (t) => {
    const folder = await temporaryFolder(t)
    for (const name of ['1', '2']) {
      await mkdir(join(folder, name))
      await writeFile(join(folder, name, 'file'), name)
    }
    await symlink('1', join(folder, 'data'))
    let changes = 0
    const files = await WatchedFiles.open([join(folder, 'data/file')], async () => ++changes > 0)
    await symlink('2', join(folder, 'new'))
    await rename(join(folder, 'new'), join(folder, 'data'))
    await files.check()
    assert.equal(changes, 1)
  })

  it('tells again what could not be dealt with', async (t) => {
    let isDealtWith = false
    const { a, changesAfter } = await prepare(t, () => isDealtWith)
    assert.equal(await changesAfter(() => writeFile(a, 'longer')), 1)
    assert.equal(await changesAfter(), 1)
    isDealtWith = true
    assert.equal(await changesAfter(), 1)
    assert.equal(await changesAfter(), 0)
  })

  it('shares one look between two calls', async (t) => {
    const { a, files, changesAfter } = await prepare(t)
    assert.equal(await changesAfter(async () => {
      await writeFile(a, 'longer')
      await Promise.all([files.check(), files.check()])
    }), 1)
  })

  it('looks by itself once started', async (t) => {
    // Its own timer does not keep the process alive.
    const alive = setInterval(() => {}, 1000)
    t.after(() => clearInterval(alive))
    const folder = await temporaryFolder(t)
    const path = join(folder, 'a')
    await new Promise<void>((resolve, reject) => {
      WatchedFiles.open([path], async () => {
        resolve()
        return true
      }).then(async (files) => {
        t.after(() => files.close())
        files.start(1)
        await writeFile(path, 'made')
      }).catch(reject)
    })
  })
})
