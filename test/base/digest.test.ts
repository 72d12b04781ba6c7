import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { sha256, sha256File } from '#src/base/digest.js'
import { temporaryFolder } from '../support/folders.js'

/** FIPS 180-2, appendix B, and the empty message. */
const OF_NOTHING = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
const OF_ABC = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
const OF_MILLION_A = 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0'

test('the published vectors, in one part or several', () => {
  assert.equal(sha256(), OF_NOTHING)
  assert.equal(sha256(''), OF_NOTHING)
  assert.equal(sha256('abc'), OF_ABC)
  assert.equal(sha256('a', Uint8Array.of(0x62), '', Buffer.from('c')), OF_ABC)
  assert.notEqual(sha256('cba'), OF_ABC)
})

test('strings count as UTF-8', () => {
  assert.equal(sha256('ü😀'), sha256(Buffer.from('ü😀', 'utf8')))
})

test('a file, also one larger than the stream\'s buffer', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'file')
  await writeFile(path, '')
  assert.equal(await sha256File(path), OF_NOTHING)
  await writeFile(path, 'a'.repeat(1_000_000))
  assert.equal(await sha256File(path), OF_MILLION_A)
  const large = Buffer.alloc(3 * 2 ** 20 + 1, 'xyz')
  await writeFile(path, large)
  assert.equal(await sha256File(path), sha256(large))
})

test('a file that is not there rejects with its errno', async (t) => {
  const folder = await temporaryFolder(t)
  await assert.rejects(sha256File(join(folder, 'none')), { code: 'ENOENT' })
})
