/** `bankswitch store`, as a script for backups would call it. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cp, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ROOT, temporaryFolder } from '../support/folders.js'
import { DATABASE_PASSWORD, startPostgres } from '../support/postgres.js'
import { cleanEnvironment, MAIN } from '../support/process.js'

/** Runs the command on the store in a folder. */
function run (folder: string, argv: string[], input?: Uint8Array) {
  const env = cleanEnvironment({ BANKSWITCH_STORE: folder })
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, 'store', ...argv], {
    env, input, maxBuffer: 2 ** 26
  })
  return { status, stdout, stderr: stderr.toString() }
}

/** What is shipped, as a store: the layout is the same, and the original is only read. */
async function shippedStore (folder: string): Promise<string> {
  const store = join(folder, 'shipped')
  await cp(join(ROOT, 'domains'), store, { recursive: true })
  return store
}

describe('bankswitch store', () => {
  it('takes the shipped domains through a file and a pipe', async (t) => {
    const folder = await temporaryFolder(t)
    const shipped = await shippedStore(folder)
    const file = join(folder, 'all.tar')
    const exported = run(shipped, ['export', file])
    assert.equal(exported.status, 0, exported.stderr)
    const { domains, versions, file: named } = JSON.parse(exported.stdout.toString())
    assert.deepEqual([named, domains > 8, versions >= domains], [file, true, true])
    assert.deepEqual((await readdir(folder)).sort(), ['all.tar', 'shipped'])

    const piped = run(shipped, ['export', '-'])
    assert.deepEqual(JSON.parse(piped.stderr), { domains, versions })
    assert.deepEqual(piped.stdout, await readFile(file))

    const restored = join(folder, 'restored')
    const read = run(restored, ['import', '-'], piped.stdout)
    assert.equal(read.status, 0, read.stderr)
    assert.deepEqual(JSON.parse(read.stdout.toString()), { domains, versions, unchanged: 0 })
    assert.deepEqual(JSON.parse(run(restored, ['import', file]).stdout.toString()), { domains, versions, unchanged: domains })
    const below = async (path: string) => (await readdir(path, { recursive: true })).sort()
    assert.deepEqual(await below(restored), await below(shipped))
  })

  it('takes a store from files into a database and back', async (t) => {
    const folder = await temporaryFolder(t)
    const shipped = await shippedStore(folder)
    const postgres = await startPostgres()
    t.after(() => postgres.close())
    const database = await postgres.createPlace()
    const early = run(database, ['export', '-'])
    assert.deepEqual([early.status, /holds no store yet/.test(early.stderr)], [69, true], early.stderr)
    const archive = run(shipped, ['export', '-']).stdout
    assert.equal(run(database, ['import', '-'], archive).status, 0)
    const again = run(database, ['export', '-'])
    assert.equal(again.status, 0, again.stderr)
    assert.ok(again.stdout.equals(archive))
    assert.equal(run(database, ['import', '-'], archive.subarray(0, archive.length / 2)).status, 65)
    assert.ok(!(early.stderr + again.stderr).includes(DATABASE_PASSWORD))
  })

  it('refuses with a reason and an exit code, and keeps the archive that is there', async (t) => {
    const folder = await temporaryFolder(t)
    const store = join(folder, 'store')
    const torn = join(folder, 'torn.tar')
    await writeFile(torn, 'no archive')
    const cases: Array<[code: number, pattern: RegExp, ...argv: string[]]> = [
      [65, /export or import and one file are needed/],
      [65, /export or import and one file are needed/, 'copy', torn],
      [65, /export or import and one file are needed/, 'export', torn, torn],
      [65, /--replace belongs to import/, 'export', torn, '--replace'],
      [65, /cannot be written/, 'export', join(folder, 'missing/all.tar')],
      [65, /cannot be read/, 'import', join(folder, 'missing.tar')],
      [65, /no whole snapshot/, 'import', torn]
    ]
    for (const [code, pattern, ...argv] of cases) {
      const { status, stderr, stdout } = run(store, argv)
      assert.equal(status, code, `${argv.join(' ')}: ${stderr}`)
      assert.match(stderr, pattern)
      assert.equal(stdout.toString(), '')
    }
    const database = run('mysql://host/banks', ['export', torn])
    assert.equal(database.status, 65)
    assert.match(database.stderr, /no stores of the kind "mysql:.*the path of a folder or postgres:/)
    await writeFile(store + '-file', '')
    assert.equal(run(`${store}-file`, ['export', torn]).status, 69)
    assert.equal(await readFile(torn, 'utf8'), 'no archive')
    assert.deepEqual((await readdir(folder)).sort(), ['store', 'store-file', 'torn.tar'])
  })
})
