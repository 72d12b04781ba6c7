/** Disks that are full, read-only, corrupt or emptied under a real server. */
import assert from 'node:assert/strict'
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { testCache } from '../support/cache.js'
import { temporaryFolder } from '../support/folders.js'
import { startProcess } from '../support/process.js'
import { getSigns, inferSigns, registerSigns, shippedBank, versionFile } from '../support/signs.js'
import { limit, startFaulty, type FaultyServer } from './fixtures/faulty-server.js'

/** A kilobyte: less than any bank. */
const FILE_BYTES_MAX = 1024

interface DiskFault {
  name: string
  begin (server: FaultyServer): Promise<void>
  end (server: FaultyServer): Promise<void>
}

const DISK_FAULTS: DiskFault[] = [
  { name: 'is full', begin: (server) => server.begin('disk', 'ENOSPC'), end: (server) => server.end('disk') },
  { name: 'is read-only', begin: (server) => server.begin('disk', 'EROFS'), end: (server) => server.end('disk') },
  {
    name: 'lets no file grow (the kernel\'s own EFBIG)',
    begin: async ({ child }) => limit(child.pid!, 'fsize', FILE_BYTES_MAX),
    end: async ({ child }) => limit(child.pid!, 'fsize', 'unlimited')
  }
]

describe('a disk that', { skip: process.platform === 'linux' ? false : 'prlimit is of Linux' }, () => {
  let server: FaultyServer
  const cleanUps: Array<() => unknown> = []
  before(async () => { server = await startFaulty({ after: (work) => { cleanUps.push(work as () => unknown) } }) })
  after(async () => { for (const work of cleanUps.toReversed()) await work() })

  for (const [at, { name, begin, end }] of DISK_FAULTS.entries()) {
    it(`${name} refuses registrations with a 503, leaves nothing behind, and holds up no inference`, async () => {
      const fresh = `mist-${at}`
      const bank = await shippedBank('fog')
      const before = await inferSigns(server.address, 'day')
      const files = await readdir(server.storeDir, { recursive: true })
      await begin(server)
      for (const domain of ['day', fresh]) {
        const refused = await registerSigns(server.address, domain, bank)
        assert.deepEqual([refused.status, refused.code], [503, 'STORE_UNWRITABLE'])
      }
      const during = await inferSigns(server.address, 'day')
      assert.ok(during.bytes.equals(before.bytes))
      assert.equal((await inferSigns(server.address, 'lowres')).status, 200)
      assert.equal((await getSigns(server.address, '/readyz')).status, 200)
      await end(server)
      const mended = await registerSigns(server.address, fresh, bank)
      assert.equal(mended.status, 201)
      assert.equal((JSON.parse(mended.bytes.toString()) as { version: number }).version, 1)
      assert.equal((await inferSigns(server.address, fresh)).status, 200)
      const left = (await readdir(server.storeDir, { recursive: true })).filter((path) => !files.includes(path))
      assert.deepEqual(left.filter((path) => !path.startsWith(`traffic-signs/${fresh}`)), [])
      assert.equal(left.length, 3, left.join())
    })
  }
})

describe('a bank that is corrupt on disk', () => {
  it('is told by its code and costs nobody else; the next start puts it into quarantine', async (t) => {
    const server = await startFaulty(t)
    const path = await versionFile(server.storeDir, 'fog')
    const bytes = await readFile(path)
    bytes[bytes.length >> 1]! ^= 1
    await writeFile(path, bytes)
    const day = await inferSigns(server.address, 'day')
    const answers = await Promise.all(['fog', 'day', 'fog', 'lowres'].map((domain) => inferSigns(server.address, domain)))
    assert.deepEqual(answers.map(({ status, code }) => code ?? status), ['STORE_CORRUPT', 200, 'STORE_CORRUPT', 200])
    assert.equal(answers[0]!.status, 500)
    assert.ok(answers[1]!.bytes.equals(day.bytes))
    server.child.kill('SIGKILL')
    await server.ended
    const second = await startProcess(t, server.settings, server.folder)
    assert.ok(second.stdout().includes('a stored bank is in quarantine'))
    const refused = await inferSigns(second.address, 'fog')
    assert.ok(refused.status >= 400 && refused.status < 500, `${refused.status} ${refused.code}`)
    assert.ok((await inferSigns(second.address, 'day')).bytes.equals(day.bytes))
    const again = await registerSigns(second.address, 'fog', await shippedBank('fog'))
    assert.equal(again.status, 201)
    assert.equal((await inferSigns(second.address, 'fog')).status, 200)
  })
})

describe('a compiled cache that is deleted under a server', () => {
  it('is not missed by the threads that have it, and made again for one that starts', async (t) => {
    const cache = join(await temporaryFolder(t), 'cache')
    await cp(testCache(), cache, { recursive: true })
    const server = await startFaulty(t, { BANKSWITCH_CACHE_DIR: cache })
    const before = await inferSigns(server.address, 'day')
    await rm(cache, { recursive: true })
    for (const domain of ['day', 'fog', 'lowres', 'lowlight']) {
      assert.equal((await inferSigns(server.address, domain)).status, 200)
    }
    await server.begin('kill')
    const after = await inferSigns(server.address, 'day')
    assert.deepEqual([after.status, after.code], [200, undefined])
    assert.ok(after.bytes.equals(before.bytes))
    assert.ok((await readdir(cache)).length > 0)
  })
})
