import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { cachedArtefact, cacheKey, type CacheHooks } from '#src/compiler/cache.js'
import { TEMPORARY_PREFIX } from '#src/base/durable-file.js'
import type { BankswitchError } from '#src/base/errors.js'
import type { CompileOptions } from '#src/compiler/compile-options.js'
import { artefactParts, writeSampleArtefact } from '../support/artefact.js'
import { temporaryFolder } from '../support/folders.js'

const KEY = 'k'.repeat(64)

interface Counted extends CacheHooks {
  folders: string[]
  corrupt: BankswitchError[]
}

/** Hooks that count: `compile` writes the sample artefact, after `before`. */
function hooks (before: (folder: string) => Promise<void> | void = () => {}): Counted {
  const folders: string[] = []
  const corrupt: BankswitchError[] = []
  return {
    folders,
    corrupt,
    async compile (folder) {
      folders.push(folder)
      await before(folder)
      await writeSampleArtefact(folder)
    },
    onCorrupt: (error) => { corrupt.push(error) }
  }
}

async function filled (t: TestContext): Promise<string> {
  const cache = join(await temporaryFolder(t), 'cache')
  await cachedArtefact(cache, KEY, hooks())
  return cache
}

describe('cachedArtefact', () => {
  test('compiles what is missing, into an empty folder, and publishes it under its key', async (t) => {
    const cache = join(await temporaryFolder(t), 'not', 'there', 'yet')
    let found: string[] | undefined
    const counted = hooks(async (folder) => { found = await readdir(folder) })
    const artefact = await cachedArtefact(cache, KEY, counted)
    assert.deepEqual(found, [])
    assert.equal(counted.folders.length, 1)
    assert.equal(artefact.folder, join(cache, KEY))
    assert.deepEqual(artefact.layout, artefactParts().layout)
    assert.deepEqual(await readdir(cache), [KEY])
  })

  test('does not compile what is there', async (t) => {
    const cache = await filled(t)
    const counted = hooks()
    assert.equal((await cachedArtefact(cache, KEY, counted)).folder, join(cache, KEY))
    assert.deepEqual([counted.folders.length, counted.corrupt.length], [0, 0])
  })

  test('keeps keys apart', async (t) => {
    const cache = await filled(t)
    const counted = hooks()
    await cachedArtefact(cache, 'other', counted)
    assert.equal(counted.folders.length, 1)
    assert.deepEqual((await readdir(cache)).sort(), [KEY, 'other'])
  })

  test('passes the compiler\'s error on and leaves nothing', async (t) => {
    const cache = await temporaryFolder(t)
    const failing = hooks(async (folder) => {
      await writeFile(join(folder, 'half.onnx'), 'half')
      throw new Error('cannot be compiled')
    })
    await assert.rejects(cachedArtefact(cache, KEY, failing), /cannot be compiled/)
    assert.deepEqual(await readdir(cache), [])
  })

  test('what was compiled wrong is not served either', async (t) => {
    const cache = await temporaryFolder(t)
    await assert.rejects(cachedArtefact(cache, KEY, { async compile () {} }), { code: 'ARTEFACT_CORRUPT' })
  })
})

describe('a corrupt entry is reported and rebuilt', () => {
  const rebuilt = async (cache: string) => {
    const counted = hooks()
    const artefact = await cachedArtefact(cache, KEY, counted)
    assert.equal(artefact.folder, join(cache, KEY))
    assert.equal(counted.folders.length, 1)
    assert.deepEqual(counted.corrupt.map(({ code }) => code), ['ARTEFACT_CORRUPT'])
    assert.deepEqual(await readdir(cache), [KEY])
    const again = hooks()
    await cachedArtefact(cache, KEY, again)
    assert.equal(again.folders.length, 0)
  }

  test('a file was changed', async (t) => {
    const cache = await filled(t)
    const path = join(cache, KEY, 'arrays.bin')
    const bytes = await readFile(path)
    bytes[3]! ^= 1
    await writeFile(path, bytes)
    await rebuilt(cache)
  })

  test('something else is there: a folder with other files', async (t) => {
    const cache = await temporaryFolder(t)
    await mkdir(join(cache, KEY, 'deep'), { recursive: true })
    await writeFile(join(cache, KEY, 'deep', 'notes.txt'), 'mine')
    await rebuilt(cache)
  })

  test('something else is there: a file', async (t) => {
    const cache = await temporaryFolder(t)
    await writeFile(join(cache, KEY), 'no folder')
    await rebuilt(cache)
  })

  test('nobody need listen', async (t) => {
    const cache = await temporaryFolder(t)
    await mkdir(join(cache, KEY))
    const { compile } = hooks()
    assert.equal((await cachedArtefact(cache, KEY, { compile })).weightBytes, 1234)
  })
})

describe('two at once', () => {
  /** A promise and the function that settles it. */
  function gate () {
    let open = () => {}
    const opened = new Promise<void>((resolve) => { open = resolve })
    return { opened, open }
  }

  /** Whoever compiles first does so until the other has begun to wait. */
  function pair (end: () => void = () => {}) {
    const { opened, open } = gate()
    const compile = async () => {
      await opened
      end()
    }
    return { first: { ...hooks(compile), onWaiting: open }, second: { ...hooks(compile), onWaiting: open } }
  }

  test('one compiles, the other waits and takes what came of it', async (t) => {
    const cache = await temporaryFolder(t)
    const { first, second } = pair()
    const both = await Promise.all([cachedArtefact(cache, KEY, first), cachedArtefact(cache, KEY, second)])
    assert.equal(first.folders.length + second.folders.length, 1)
    assert.deepEqual(both[0], both[1])
    assert.deepEqual(await readdir(cache), [KEY])
  })

  test('a corrupt entry is repaired once', async (t) => {
    const cache = await temporaryFolder(t)
    await mkdir(join(cache, KEY))
    const { first, second } = pair()
    const both = await Promise.all([cachedArtefact(cache, KEY, first), cachedArtefact(cache, KEY, second)])
    assert.equal(first.folders.length + second.folders.length, 1)
    assert.deepEqual(both[0], both[1])
    assert.deepEqual(await readdir(cache), [KEY])
  })

  test('one fails, the other compiles for itself', async (t) => {
    const cache = await temporaryFolder(t)
    let isFirst = true
    const { first, second } = pair(() => {
      const mustFail = isFirst
      isFirst = false
      if (mustFail) throw new Error('cannot be compiled')
    })
    const both = await Promise.allSettled([cachedArtefact(cache, KEY, first), cachedArtefact(cache, KEY, second)])
    assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
    assert.equal(first.folders.length + second.folders.length, 2)
    assert.deepEqual(await readdir(cache), [KEY])
  })

  test('who waits can give up', async (t) => {
    const cache = await temporaryFolder(t)
    const controller = new AbortController()
    const [begun, finish] = [gate(), gate()]
    const first = cachedArtefact(cache, KEY, hooks(async () => {
      begun.open()
      await finish.opened
    }))
    await begun.opened
    const second = cachedArtefact(cache, KEY, {
      ...hooks(), signal: controller.signal, onWaiting: () => controller.abort(new Error('no more time'))
    })
    await assert.rejects(second, /no more time/)
    finish.open()
    await first
    assert.deepEqual(await readdir(cache), [KEY])
  })
})

describe('what else lies in the cache folder', () => {
  test('is left alone', async (t) => {
    const cache = await temporaryFolder(t)
    await writeFile(join(cache, 'notes.txt'), 'mine')
    await mkdir(join(cache, 'folder'))
    await cachedArtefact(cache, KEY, hooks())
    assert.deepEqual((await readdir(cache)).sort(), ['folder', KEY, 'notes.txt'])
  })

  test('abandoned compilations go, running ones stay', async (t) => {
    const cache = await temporaryFolder(t)
    const [abandoned, running] = [`${TEMPORARY_PREFIX}abandoned`, `${TEMPORARY_PREFIX}running`]
    for (const name of [abandoned, running]) {
      await mkdir(join(cache, name))
      await writeFile(join(cache, name, 'graph.onnx'), 'half')
    }
    const twoHoursAgo = Date.now() / 1000 - 2 * 60 * 60
    await utimes(join(cache, abandoned), twoHoursAgo, twoHoursAgo)
    await cachedArtefact(cache, KEY, hooks())
    assert.deepEqual((await readdir(cache)).sort(), [running, KEY])
  })

  test('one that vanishes while it is looked at does no harm', async (t) => {
    const cache = await temporaryFolder(t)
    await symlink(join(cache, 'nowhere'), join(cache, `${TEMPORARY_PREFIX}dangling`))
    assert.equal((await cachedArtefact(cache, KEY, hooks())).folder, join(cache, KEY))
  })
})

describe('cacheKey', () => {
  const options: CompileOptions = { foldBudget: 0.05, samples: [{ x: [1, 3, 8, 8] }] }

  test('is fit for a folder name, and the same for the same', () => {
    assert.match(cacheKey(['model'], options), /^[0-9a-f]{64}$/)
    assert.equal(cacheKey(['model'], options), cacheKey(['model'], structuredClone(options)))
  })

  test('differs by model, budget and samples', () => {
    const keys = [
      cacheKey(['model'], options),
      cacheKey(['other'], options),
      cacheKey(['model', 'data'], options),
      ...[0, 0.050001, 1, Infinity].map((foldBudget) => cacheKey(['model'], { ...options, foldBudget })),
      cacheKey(['model'], { ...options, samples: [] }),
      cacheKey(['model'], { ...options, samples: [{ x: [1, 3, 8, 9] }] }),
      cacheKey(['model'], { ...options, samples: [{ y: [1, 3, 8, 8] }] }),
      cacheKey(['model'], { ...options, samples: [...options.samples, ...options.samples] })
    ]
    assert.equal(new Set(keys).size, keys.length)
  })
})
