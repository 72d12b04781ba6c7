/** The Dockerfile against the settings and commands that there are; `.ci/image` builds and runs it. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { loadSettings } from '#src/config/load.js'
import { ROOT, temporaryFolder } from '../support/folders.js'
import { readImage } from './fixtures/image.js'

describe('the image', () => {
  const image = readImage()
  const program = ['node', 'dist/main.js']

  it('has settings that there are, and all that they write in its volume', () => {
    const settings = loadSettings(image.environment, [])
    assert.equal(settings.host, '0.0.0.0')
    assert.equal(settings.port, image.port)
    for (const written of [
      settings.store, settings.cacheDir, settings.jobsDir, settings.adminKeyFile, settings.keysFile, settings.auditFile
    ]) assert.ok(written.startsWith(`${image.volume}/`), written)
  })

  it('runs as a user that Kubernetes knows not to be root', () => {
    assert.match(image.user, /^[1-9]\d*:[1-9]\d*$/)
  })

  it('serves, and asks after its health by the command for it', () => {
    assert.deepEqual(image.entrypoint.slice(image.entrypoint.indexOf('--') + 1), program)
    assert.deepEqual(image.command, ['serve'])
    assert.deepEqual(image.healthcheck, [...program, 'health'])
  })
})

it('the image keeps native code of its own platform, licences, and what Node reads', async (t) => {
  const folder = await temporaryFolder(t)
  const here = `${process.platform}-${process.arch}`
  const kept = [
    `onnxruntime-node/bin/napi-v6/${process.platform}/${process.arch}/onnxruntime_binding.node`, `x/prebuilds/${here}/x.node`, 'x/index.js',
    'x/package.json', 'x/LICENSE.md', 'x/ThirdPartyNotices.md', 'x/data.ts.json', 'onnxruntime-node/dist/index.js'
  ]
  const gone = [
    'onnxruntime-node/bin/napi-v6/beos/x64/onnxruntime_binding.node', `onnxruntime-node/bin/napi-v6/${process.platform}/mips/lib.so`,
    'x/prebuilds/beos-x64/x.node', `x/prebuilds/${here}/x.bare`, 'x/index.js.map', 'x/index.d.ts', 'x/index.d.mts', 'x/README.md', 'x/.tsbuildinfo'
  ]
  for (const path of [...kept, ...gone]) {
    await mkdir(join(folder, 'node_modules', dirname(path)), { recursive: true })
    await writeFile(join(folder, 'node_modules', path), '')
  }
  await symlink('../nowhere', join(folder, 'node_modules/workspace'))
  const { status, stderr } = spawnSync(process.execPath, [join(ROOT, '.ci/prune-image.mjs'), 'node_modules'], { cwd: folder, encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  const left = await readdir(join(folder, 'node_modules'), { recursive: true, withFileTypes: true })
  const files = left.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name).slice(join(folder, 'node_modules/').length))
  assert.deepEqual(files.toSorted(), kept.toSorted())
})
