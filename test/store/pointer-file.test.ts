import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sha256 } from '#src/base/digest.js'
import { withVersion } from '#src/store/changes.js'
import { readPointer, writePointer } from '#src/store/file/files.js'
import { parsePointer, serializePointer, versionFileName } from '#src/store/file/pointer-file.js'
import type { Pointer } from '#src/store/bank-store.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'

function samplePointer (): Pointer {
  let pointer: Pointer | undefined
  for (const [index, source] of ['model', 'json', 'safetensors', 'calibration', 'of-a-newer-server'].entries()) {
    pointer = withVersion('night', pointer, {
      version: index + 1,
      sha256: sha256(`file ${index}`),
      bytes: 1000 * index,
      digest: sha256(`bank ${index}`),
      fingerprint: sha256('network'),
      source,
      createdAt: '2024-01-01T00:00:00.000Z'
    }, index < 3, 'Dark: "twilight" \\ 夜, \u0007 and a lone \ud800')
  }
  return pointer!
}

const text = Buffer.from(serializePointer(samplePointer())).toString()

/** The file with fields changed, and a checksum that is right again. */
function forged (changes: Record<string, unknown>): string {
  const { checksum: _checksum, ...body } = JSON.parse(text) as Record<string, unknown>
  const changed = { ...body, ...changes }
  return JSON.stringify({ ...changed, checksum: sha256(JSON.stringify(changed)) })
}

test('a pointer survives the way to its file and back', () => {
  assert.deepEqual(parsePointer(text, 'night'), samplePointer())
  const bare: Pointer = { domain: 'd', revision: 1, lastVersion: 1, active: null, previous: [], versions: [] }
  assert.deepEqual(parsePointer(Buffer.from(serializePointer(bare)).toString(), 'd'), bare)
})

test('marks and a gate survive too; only they make the format 2', () => {
  const marked: Pointer = {
    ...samplePointer(),
    labels: { canary: 2, stable: 1 },
    canary: { version: 2, percent: 12.5 },
    shadow: { version: 3, percent: 100 },
    gate: { sha256: sha256('gate'), bytes: 9, rows: 2, absolute: 1e-4, relative: 0, createdAt: '2024-01-01T00:00:00.000Z' }
  }
  const written = Buffer.from(serializePointer(marked)).toString()
  assert.deepEqual(parsePointer(written, 'night'), marked)
  assert.equal(JSON.parse(written).format, 2)
  assert.equal(JSON.parse(text).format, 1)
})

test('forging helps the following tests: an unchanged forgery is accepted', () => {
  assert.deepEqual(parsePointer(forged({}), 'night'), samplePointer())
  assert.equal(parsePointer(forged({ active: 1 }), 'night').active, 1)
})

test('every flipped bit is noticed', () => {
  const bytes = Buffer.from(text)
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7)
    const flipped = bytes.toString('utf8')
    bytes[bit >> 3]! ^= 1 << (bit & 7)
    try {
      // A flip that JSON reads as the same value, like the letter case of an escape, does no harm.
      assert.deepEqual(parsePointer(flipped, 'night'), samplePointer(), `bit ${bit} gives another pointer`)
    } catch (error) {
      // A digit that becomes a higher one cannot be told from a newer server's.
      const isHigherFormat = /"format": [3-9]/.test(flipped)
      hasCode(isHigherFormat ? 'STORE_FORMAT_UNKNOWN' : 'STORE_CORRUPT', { domain: 'night' })(error)
    }
  }
})

test('every truncation is noticed', () => {
  const whole = text.trimEnd()
  for (let length = 0; length < whole.length; length++) {
    assert.throws(() => parsePointer(whole.slice(0, length), 'night'), hasCode('STORE_CORRUPT'))
  }
})

for (const [what, changes, why] of [
  ['a format of the past', { format: undefined }, /format/],
  ['an unusable name', { domain: '../day' }, /domain/],
  ['a missing revision', { revision: undefined }, /revision/],
  ['a fraction for a version', { lastVersion: 4.5 }, /lastVersion/],
  ['an active version that is not listed', { active: 9 }, /active version/],
  ['a version above the last one', { lastVersion: 2 }, /future/],
  ['a label for a version that is not listed', { labels: { stable: 9 } }, /points to/],
  ['a canary that is not listed', { canary: { version: 9, percent: 1 } }, /points to/],
  ['a shadow that is not listed', { shadow: { version: 9, percent: 1 } }, /points to/],
  ['a share above all', { canary: { version: 1, percent: 101 } }, /percent/],
  ['a label that is none', { labels: { '../x': 1 } }, /labels/],
  ['a gate with a path in it', { gate: { sha256: '../x' } }, /gate/],
  ['no format at all', { format: 'three' }, /format/],
  ['format 0', { format: 0 }, /format/],
  ['a source that is no name', { versions: [{ ...samplePointer().versions[0], source: '../x' }] }, /source/],
  ['a digest with a path in it', { versions: [{ ...samplePointer().versions[0], sha256: '../../x' }] }, /sha256/]
] as const) {
  test(`${what} is refused though the checksum is right`, () => {
    assert.throws(() => parsePointer(forged(changes), 'night'), (error: Error) => {
      assert.match(error.message, why)
      return hasCode('STORE_CORRUPT')(error)
    })
  })
}

for (const [what, changes, details] of [
  ['a higher format', { format: 3 }, { expected: 2, received: 3 }],
  ['a higher format in which nothing else is as it was', { format: 17, versions: 'elsewhere', revision: null }, { expected: 2, received: 17 }],
  ['a further field', { owner: 'x' }, { received: ['owner'] }],
  ['a further field of a version', { versions: samplePointer().versions.map((record) => ({ ...record, expiresAt: 'x' })) }, {
    received: ['expiresAt', 'expiresAt', 'expiresAt', 'expiresAt', 'expiresAt']
  }],
  ['a further field of the canary', { format: 2, canary: { version: 1, percent: 1, until: 'x' } }, { received: ['until'] }]
] as const) {
  test(`${what} is a newer server's, and no damage`, () => {
    assert.throws(() => parsePointer(forged(changes), 'night'), (error: Error) => {
      assert.match(error.message, /newer/)
      return hasCode('STORE_FORMAT_UNKNOWN', { domain: 'night', ...details })(error)
    })
  })
}

test('a further field under a wrong checksum is damage', () => {
  const { checksum, ...body } = JSON.parse(text) as Record<string, unknown>
  assert.throws(() => parsePointer(JSON.stringify({ ...body, owner: 'x', checksum }), 'night'), hasCode('STORE_CORRUPT'))
})

test('the pointer of another domain is refused', () => {
  assert.throws(() => parsePointer(text, 'day'), hasCode('STORE_CORRUPT', { domain: 'day' }))
})

test('what is no pointer at all is refused', () => {
  for (const nonsense of ['', 'null', '[]', '{}', '"night"', '{"checksum": 1}']) {
    assert.throws(() => parsePointer(nonsense, 'night'), hasCode('STORE_CORRUPT'))
  }
})

test('version files sort by age', () => {
  const digest = sha256('')
  assert.equal(versionFileName(7, digest), '000007-e3b0c44298fc1c14.safetensors')
  const names = [2, 10, 999_999].map((version) => versionFileName(version, digest))
  assert.deepEqual([...names].sort(), names)
  assert.equal(versionFileName(1_000_000, digest), '1000000-e3b0c44298fc1c14.safetensors')
})

test('a version that stood in a pointer file is written with each later one, and not checked again', async (t) => {
  const folder = await temporaryFolder(t)
  const [first, ...others] = samplePointer().versions
  let reads = 0
  const counted = Object.defineProperty({ ...first! }, 'createdAt', {
    enumerable: true,
    get () {
      reads++
      return first!.createdAt
    }
  })
  const pointer = { ...samplePointer(), versions: [counted, ...others] }
  await writePointer(folder, pointer)
  assert.ok(reads > 2, 'a new version is compared with what was written')
  reads = 0
  const later = { ...pointer, revision: pointer.revision + 1 }
  await writePointer(folder, later)
  assert.equal(reads, 2, 'once for the checksum, once for the file')
  assert.deepEqual(await readPointer(folder, 'night'), later)
  await assert.rejects(writePointer(folder, { ...later, versions: [{ ...counted, bytes: NaN }, ...others] }))
  assert.deepEqual(await readPointer(folder, 'night'), later)
})
