import assert from 'node:assert/strict'
import { gzipSync } from 'node:zlib'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { archivedFiles, archiveKind, type ArchiveLimits } from '#src/calibration/archives.js'
import { BankswitchError } from '#src/base/errors.js'
import { tarOf, zipOf, type Entry } from '../support/archives.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'

const LIMITS: ArchiveLimits = { entries: 10, entryBytes: 1000, totalBytes: 3000 }

async function unpack (bytes: Uint8Array, limits = LIMITS): Promise<Array<[string, string]>> {
  const found: Array<[string, string]> = []
  for await (const file of archivedFiles({ name: 'set', bytes }, archiveKind(bytes)!, limits)) {
    found.push([file.name, Buffer.from(file.bytes).toString()])
  }
  return found
}

const entry = (name: string, content = name): Entry => ({ name, bytes: Buffer.from(content) })

const makers: Record<string, (entries: Entry[]) => Promise<Uint8Array>> = {
  zip: async (entries) => zipOf(entries),
  tar: tarOf,
  'tar.gz': async (entries) => gzipSync(await tarOf(entries))
}

for (const [kind, make] of Object.entries(makers)) {
  describe(kind, () => {
    it('gives its files in order, without folders, hidden files and what macOS adds', async () => {
      const bytes = await make([entry('a.png'), entry('deep/b.png', 'b'), entry('.hidden'), entry('deep/.DS_Store'), entry('__MACOSX/a.png')])
      assert.equal(archiveKind(bytes), kind)
      assert.deepEqual(await unpack(bytes), [['set/a.png', 'a.png'], ['set/deep/b.png', 'b']])
    })

    it('refuses names that leave their folder', async () => {
      for (const name of ['../a.png', '/etc/a.png', 'a/../../b.png', 'a\\..\\b.png', 'C:/a.png']) {
        await assert.rejects(unpack(await make([entry('fine.png'), entry(name)])), hasCode('ARCHIVE_NAME_REFUSED'), name)
      }
    })

    it('bounds entries, one entry and all of them, whatever they say of themselves', async () => {
      const many = await make(Array.from({ length: 11 }, (_, at) => entry(`${at}.png`)))
      await assert.rejects(unpack(many), hasCode('ARCHIVE_TOO_LARGE', { expected: 'at most 10' }))
      const large = await make([entry('a.png', 'x'.repeat(1001))])
      await assert.rejects(unpack(large), hasCode('ARCHIVE_TOO_LARGE', { expected: 'at most 1000' }))
      const together = await make(Array.from({ length: 4 }, (_, at) => entry(`${at}.png`, 'x'.repeat(900))))
      await assert.rejects(unpack(together), hasCode('ARCHIVE_TOO_LARGE', { expected: 'at most 3000' }))
    })

    it('answers any damage with an error of its own, or with files', async () => {
      const bytes = await make([entry('a.png', 'content'), entry('b.png', 'more content')])
      await fc.assert(fc.asyncProperty(
        fc.nat(bytes.length - 1), fc.nat(255), fc.option(fc.nat(bytes.length - 1)), async (at, value, cut) => {
          const damaged = Buffer.from(bytes)
          damaged[at] = value
          const torn = cut === null ? damaged : damaged.subarray(0, cut)
          if (archiveKind(torn) === undefined) return
          try {
            await unpack(torn)
          } catch (error) {
            assert.ok(error instanceof BankswitchError && error.code.startsWith('ARCHIVE_'), String(error))
          }
        }
      ), { seed: runSeed, numRuns: 300 })
    })
  })
}

describe('archives', () => {
  it('stop a zip bomb that lies about its size', async () => {
    const bytes = zipOf([{ name: 'bomb.png', bytes: Buffer.alloc(50_000_000), declared: 100 }])
    await assert.rejects(unpack(bytes), (error) => {
      return error instanceof BankswitchError && ['ARCHIVE_TOO_LARGE', 'ARCHIVE_UNREADABLE'].includes(error.code)
    })
  })

  it('refuse links and devices in a tar', async () => {
    for (const type of ['symlink', 'link', 'fifo', 'character-device'] as const) {
      const bytes = await tarOf([{ name: 'a.png', bytes: Buffer.alloc(0), header: { type, linkname: '/etc/passwd' } }])
      await assert.rejects(unpack(bytes), hasCode('ARCHIVE_NAME_REFUSED'), type)
    }
  })

  it('are told from pictures by their first bytes', () => {
    assert.equal(archiveKind(Buffer.from('89504e470d0a1a0a', 'hex')), undefined)
    assert.equal(archiveKind(new Uint8Array(0)), undefined)
  })
})
