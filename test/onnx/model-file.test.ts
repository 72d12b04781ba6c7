import assert from 'node:assert/strict'
import { mkdir, open, writeFile, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { readModelFile } from '#src/onnx/model-file.js'
import { MODEL_BYTES_MAX, parseModel } from '#src/onnx/model.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'

const GIB = 2 ** 30

/** The most that is read of a file before it has shown that it may be a model. */
const HEAD_BYTES_MAX = 4096

/** A file of that size that takes no room on the disk, zeros but for its first bytes. */
async function sparseFile (t: TestContext, size: number, ...head: number[]): Promise<string> {
  const path = join(await temporaryFolder(t), 'sparse.onnx')
  const file = await open(path, 'w')
  await file.write(Uint8Array.from(head))
  await file.truncate(size)
  await file.close()
  return path
}

/** How many bytes are asked of files, and whether every file was closed. */
async function watchFiles (t: TestContext): Promise<{ bytesAsked: () => number, areClosed: () => boolean }> {
  const handle = await open(import.meta.filename)
  await handle.close()
  const { mock } = t.mock.method(Object.getPrototypeOf(handle) as FileHandle, 'read')
  return {
    bytesAsked: () => mock.calls.reduce((sum, call) => sum + Number((call.arguments as unknown[])[2]), 0),
    areClosed: () => mock.callCount() > 0 && mock.calls.every((call) => (call.this as FileHandle).fd === -1)
  }
}

test('a model is read whole', async (t) => {
  const g = new GraphBuilder()
  g.output(g.conv(g.input('x', [1, 3, 8, 8]), { inputs: 3, outputs: 8, kernel: 3 }), [1, 8, 8, 8])
  const path = join(await temporaryFolder(t), 'model.onnx')
  await writeFile(path, g.bytes())
  const files = await watchFiles(t)
  const bytes = await readModelFile(path)
  assert.deepEqual(new Uint8Array(bytes), g.bytes())
  assert.equal(parseModel(bytes).graph.node.length, 1)
  assert.ok(files.areClosed())
})

test('2 GiB of zeros are refused after a look at the first bytes', async (t) => {
  for (const size of [2 * GIB - 1, 2 * GIB]) {
    const path = await sparseFile(t, size)
    const files = await watchFiles(t)
    await assert.rejects(readModelFile(path), hasCode('ONNX_NOT_A_MODEL'))
    assert.ok(files.bytesAsked() > 0 && files.bytesAsked() <= HEAD_BYTES_MAX)
    assert.ok(files.areClosed())
  }
})

test('a file that begins like a model but is too large for one is not read', async (t) => {
  const path = await sparseFile(t, 3 * GIB, 0x08, 0x08)
  const files = await watchFiles(t)
  await assert.rejects(readModelFile(path), hasCode('ONNX_TOO_LARGE', { expected: MODEL_BYTES_MAX, received: 3 * GIB }))
  assert.ok(files.bytesAsked() > 0 && files.bytesAsked() <= HEAD_BYTES_MAX)
  assert.ok(files.areClosed())
})

test('an empty file, one of a byte, and one of another kind', async (t) => {
  const path = join(await temporaryFolder(t), 'model.onnx')
  for (const content of ['', '\0', 'PK\u0003\u0004', 'version https://git-lfs.github.com/spec/v1\n']) {
    await writeFile(path, content)
    await assert.rejects(readModelFile(path), hasCode('ONNX_NOT_A_MODEL'))
  }
  await writeFile(path, Uint8Array.of(0x08))
  assert.deepEqual([...await readModelFile(path)], [0x08])
})

test('a file that shrinks while it is read', async (t) => {
  const path = await sparseFile(t, 1000, 0x08)
  const handle = await open(path, 'r+')
  t.after(() => handle.close())
  const prototype = Object.getPrototypeOf(handle) as { stat: () => Promise<{ size: number }> }
  const { stat } = prototype
  t.mock.method(prototype, 'stat', async function (this: FileHandle) {
    const found = await stat.call(this)
    await handle.truncate(100)
    return found
  })
  await assert.rejects(readModelFile(path), hasCode('ONNX_NOT_A_MODEL'))
})

test('what is no file rejects with its errno', async (t) => {
  const folder = await temporaryFolder(t)
  await mkdir(join(folder, 'model.onnx'))
  await assert.rejects(readModelFile(join(folder, 'none.onnx')), { code: 'ENOENT' })
  await assert.rejects(readModelFile(join(folder, 'model.onnx')), { code: 'EISDIR' })
})
