import assert from 'node:assert/strict'
import { appendFile, cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { pathToFileURL } from 'node:url'
import { cacheKey } from '#src/compiler/cache.js'
import { compilerRevision, programDigest } from '#src/compiler/revision.js'
import { ROOT, temporaryFolder } from '../support/folders.js'

const OPTIONS = { foldBudget: 0.05, samples: [] }

/** A copy of what was built, which can be loaded. */
async function copyOfBuild (t: TestContext): Promise<string> {
  const folder = await temporaryFolder(t)
  await cp(join(ROOT, 'dist'), join(folder, 'dist'), {
    recursive: true, filter: (path) => !/\.(map|ts|tsbuildinfo)$/.test(path)
  })
  await cp(join(ROOT, 'package.json'), join(folder, 'package.json'))
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return join(folder, 'dist')
}

const digestOf = (build: string) => programDigest(pathToFileURL(join(build, 'compiler/compile-child.js')))

async function keyOf (build: string): Promise<string> {
  const cache = await import(join(build, 'compiler/cache.js')) as { cacheKey: typeof cacheKey }
  return cache.cacheKey(['source'], OPTIONS)
}

describe('the compiler\'s revision', () => {
  test('is that of its files, wherever they lie', async (t) => {
    const build = await copyOfBuild(t)
    assert.equal(digestOf(build), compilerRevision())
    assert.equal(await keyOf(build), cacheKey(['source'], OPTIONS))
    assert.match(compilerRevision(), /^[0-9a-f]{64}$/)
  })

  test('is another once a byte of a pass changes, and so is the key of every artefact', async (t) => {
    const build = await copyOfBuild(t)
    const path = join(build, 'compiler/plan.js')
    const text = await readFile(path, 'utf8')
    assert.ok(text.includes('=> b.worth - a.worth'))
    await writeFile(path, text.replace('=> b.worth - a.worth', '=> a.worth - b.worth'))
    assert.notEqual(digestOf(build), compilerRevision())
    assert.notEqual(await keyOf(build), cacheKey(['source'], OPTIONS))
  })

  test('stays when anything changes that the compiler never loads', async (t) => {
    const build = await copyOfBuild(t)
    for (const room of ['http', 'serving', 'store', 'cli', 'runtime', 'calibration', 'observability']) {
      for (const entry of await readdir(join(build, room), { withFileTypes: true })) {
        if (entry.isFile()) await appendFile(join(entry.parentPath, entry.name), '\n// changed\n')
      }
    }
    assert.equal(digestOf(build), compilerRevision())
    assert.equal(await keyOf(build), cacheKey(['source'], OPTIONS))
  })

  test('covers every pass and the rooms below', async (t) => {
    const build = await copyOfBuild(t)
    const digests = [digestOf(build)]
    for (const file of [
      'compiler/passes.js', 'compiler/source/evaluate-constants.js', 'compiler/artefact.js', 'onnx/tensor.js',
      'onnx/generated/onnx_pb.js', 'bank/pack.js', 'ort/session.js', 'base/durable-file.js'
    ]) {
      await appendFile(join(build, file), ' ')
      digests.push(digestOf(build))
    }
    assert.equal(new Set(digests).size, digests.length)
  })
})

describe('the digest of a program', () => {
  const program = async (t: TestContext, files: Record<string, string>): Promise<URL> => {
    const folder = join(await temporaryFolder(t), 'program')
    await mkdir(folder)
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
    return pathToFileURL(join(folder, 'main.js'))
  }

  test('follows imports, exports, imports at run time and threads, circles too', async (t) => {
    const files: Record<string, string> = {
      'main.js': 'import { a } from "./a.js"\nexport * from \'./b.js\'',
      'a.js': 'import "./main.js"\nawait import(\'./c.js\')',
      'b.js': 'new Worker(new URL("./d.js", import.meta.url))',
      'c.js': '1',
      'd.js': '1'
    }
    const before = programDigest(await program(t, files))
    for (const name of Object.keys(files)) {
      const changed = programDigest(await program(t, { ...files, [name]: `${files[name]!} ` }))
      assert.notEqual(changed, before, name)
    }
    assert.equal(programDigest(await program(t, { ...files, 'e.js': 'unreached' })), before)
  })

  test('tells two files with swapped contents apart', async (t) => {
    const main = 'import "./a.js"; import "./b.js"'
    const one = programDigest(await program(t, { 'main.js': main, 'a.js': '1', 'b.js': '2' }))
    assert.notEqual(programDigest(await program(t, { 'main.js': main, 'a.js': '2', 'b.js': '1' })), one)
  })

  test('of one whose module is missing is none', async (t) => {
    const entry = await program(t, { 'main.js': 'import "./gone.js"' })
    assert.throws(() => programDigest(entry), { code: 'ENOENT' })
  })
})
