import assert from 'node:assert/strict'
import { mkdir, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { readSample, sampleNames } from '#src/models/samples.js'
import { temporaryFolder } from '../support/folders.js'

describe('sample pictures', () => {
  it('are the pictures of the folder, by name', async (t) => {
    const folder = await temporaryFolder(t)
    assert.deepEqual(await sampleNames({ folder }), [])
    await mkdir(join(folder, 'samples'))
    for (const name of ['b.png', 'a.jpg', 'c.webp', 'notes.txt', '.hidden.png', 'd.png.txt']) await writeFile(join(folder, 'samples', name), name)
    assert.deepEqual(await sampleNames({ folder }), ['a.jpg', 'b.png', 'c.webp'])
    assert.deepEqual(await readSample({ folder }, 'a.jpg'), { bytes: Buffer.from('a.jpg'), type: 'image/jpeg' })
  })

  it('are nothing else, whatever is asked for', async (t) => {
    const folder = await temporaryFolder(t)
    await mkdir(join(folder, 'samples'))
    await writeFile(join(folder, 'secret.png'), 'x')
    await writeFile(join(folder, 'samples/huge.png'), 'x')
    await truncate(join(folder, 'samples/huge.png'), 5 * 2 ** 20)
    await symlink(join(folder, 'secret.png'), join(folder, 'samples/..png'))
    for (const name of ['../secret.png', '..png', 'gone.png', 'huge.png', '', '/etc/passwd', 'samples/huge.png']) {
      await assert.rejects(readSample({ folder }, name), { code: 'SAMPLE_NOT_FOUND' }, name)
    }
  })
})
