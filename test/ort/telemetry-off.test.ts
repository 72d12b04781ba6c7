import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { ROOT, temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'

test('the runtime reports to nobody: a process of ours leaves nothing in the temporary folder', async (t) => {
  const folder = await temporaryFolder(t)
  const modelPath = join(await temporaryFolder(t), 'model.onnx')
  const g = new GraphBuilder()
  await writeFile(modelPath, g.output(g.relu(g.input('x', [1])), [1]).bytes())
  const script = `
    import { runtimeVersion } from '#src/ort/platform.js'
    import { openSession } from '#src/ort/session.js'
    const session = await openSession(${JSON.stringify(modelPath)}, { optimization: 'disabled' })
    await session.release()
    console.log(runtimeVersion())`
  // The runtime keeps quiet of itself where it finds variables of a CI, so the child gets none.
  const env = { PATH: process.env.PATH, HOME: folder, TMPDIR: folder }
  const { stdout } = await promisify(execFile)(
    process.execPath, ['--input-type=module', '--eval', script], { cwd: ROOT, env }
  )
  assert.match(stdout, /^\d+\.\d+\.\d+/)
  assert.deepEqual(await readdir(folder), [])
})
