/** The cases of src/store/recover.ts, by their numbers. */
import assert from 'node:assert/strict'
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { openFileStore } from '#src/store/file/file-store.js'
import { parsePointer, serializePointer } from '#src/store/file/pointer-file.js'
import { sha256 } from '#src/base/digest.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'
import { CHANGES } from './contract.js'
import { cutInHalf, damage, flipBit, versionPath, writeIn } from './fixtures/damage.js'
import { stallAt } from './fixtures/faults.js'
import { fileOf, fillStore, newVersion } from './fixtures/operations.js'
import { assertTidy, filesBelow, reopen, snapshot } from './fixtures/snapshot.js'
import type { WholeDomain } from '#src/store/bank-store.js'

async function filledStore (t: TestContext) {
  const folder = join(await temporaryFolder(t), 'domains')
  await fillStore(folder)
  const { store } = await openFileStore(folder)
  return { folder, store, before: await snapshot(store) }
}

test('a folder that is missing is made, and an empty one is an empty store', async (t) => {
  const folder = join(await temporaryFolder(t), 'a/b/domains')
  const { store, report } = await openFileStore(folder)
  assert.deepEqual(report, { removed: [], quarantined: [], refused: [] })
  assert.deepEqual(store.domains('signs'), [])
  assert.deepEqual(await readdir(folder), [])
})

test('an orderly store opens unchanged', async (t) => {
  const { folder, before } = await filledStore(t)
  const { report, held } = await reopen(folder)
  assert.deepEqual(report, { removed: [], quarantined: [], refused: [] })
  assert.deepEqual(held, before)
  await assertTidy(folder, held)
})

test('1: temporary files and folders go', async (t) => {
  const { folder, before } = await filledStore(t)
  await writeIn(folder, 'signs/night/.tmp-domain.json-0123456789ab')
  await writeIn(folder, 'signs/.tmp-rain-0123456789ab/deep/domain.json')
  await writeIn(folder, '.shipped/signs/.tmp-night.json-0123456789ab')
  const { report, held } = await reopen(folder)
  assert.deepEqual(report, {
    removed: [
      'signs/.tmp-rain-0123456789ab', 'signs/night/.tmp-domain.json-0123456789ab',
      '.shipped/signs/.tmp-night.json-0123456789ab'
    ],
    quarantined: [],
    refused: []
  })
  assert.deepEqual(held, before)
  await assertTidy(folder, held)
})

test('2: version files that no pointer lists go', async (t) => {
  const { folder, before } = await filledStore(t)
  await writeIn(folder, 'signs/night/000004-0123456789abcdef.safetensors')
  await writeIn(folder, 'signs/night/1000000-0123456789abcdef.safetensors')
  const { report, held } = await reopen(folder)
  assert.deepEqual(report.removed.sort(), [
    'signs/night/000004-0123456789abcdef.safetensors', 'signs/night/1000000-0123456789abcdef.safetensors'
  ])
  assert.deepEqual(held, before)
  await assertTidy(folder, held)
})

test('3: a first publish that was cut off leaves no domain', async (t) => {
  const { folder, before } = await filledStore(t)
  await writeIn(folder, 'plates/fog/000001-0123456789abcdef.safetensors')
  await writeIn(folder, 'plates/fog/.tmp-domain.json-0123456789ab')
  await mkdir(join(folder, 'plates/rain'))
  const { report, held, store } = await reopen(folder)
  assert.deepEqual(report.quarantined, [])
  assert.deepEqual(report.removed.slice(-2), ['plates/fog', 'plates/rain'])
  assert.deepEqual(held, before)
  assert.deepEqual(await readdir(join(folder, 'plates')), [])
  const record = await store.publish('plates', 'fog', newVersion('again'))
  assert.deepEqual([record.active, record.revision], [1, 1])
})

for (const [what, spoil, reason] of [
  ['with a flipped bit', (path: string) => flipBit(path), /./],
  ['cut off', cutInHalf, /not JSON/],
  ['that is empty', (path: string) => writeFile(path, ''), /not JSON/],
  ['of another domain', (path: string) => cp(path.replace('night', 'day'), path), /belongs to domain "day"/],
  ['that is a folder', async (path: string) => {
    await rm(path)
    await mkdir(path)
  }, /EISDIR/]
] as const) {
  test(`4: a pointer ${what} takes its domain to quarantine, whole and loudly`, async (t) => {
    const { folder, before } = await filledStore(t)
    const names = await readdir(join(folder, 'signs/night'))
    await spoil(join(folder, 'signs/night/domain.json'))
    const { report, held, store } = await reopen(folder)
    assert.deepEqual(report.removed, [])
    assert.deepEqual(report.quarantined.map(({ path }) => path), ['signs/night'])
    assert.match(report.quarantined[0]!.reason, reason)
    assert.deepEqual(held, { 'signs/day': before['signs/day'] })
    await assertTidy(folder, held)
    assert.deepEqual(await readdir(join(folder, '.quarantine/signs/night.1/content')), names)
    // The name is free again.
    assert.equal((await store.publish('signs', 'night', newVersion('new'), 0)).active, 1)
  })
}

test('4: a domain that lost its pointer goes to quarantine when it had more than a first publish', async (t) => {
  const { folder, before } = await filledStore(t)
  const names = await readdir(join(folder, 'signs/night'))
  await rm(join(folder, 'signs/night/domain.json'))
  const { report, held } = await reopen(folder)
  assert.deepEqual(report.removed, [])
  assert.deepEqual(report.quarantined.map(({ path }) => path), ['signs/night'])
  assert.match(report.quarantined[0]!.reason, /missing/)
  assert.deepEqual(held, { 'signs/day': before['signs/day'] })
  assert.deepEqual(
    await readdir(join(folder, '.quarantine/signs/night.1/content')), names.filter((name) => name !== 'domain.json')
  )
})

for (const [what, spoil] of [
  ['with a flipped bit', (path: string) => flipBit(path)],
  ['cut off', cutInHalf],
  ['that is empty', (path: string) => writeFile(path, '')],
  ['that is longer', (path: string) => writeFile(path, `${fileOf('night two')} `)]
] as const) {
  test(`5: an active version ${what} goes to quarantine and leaves none active`, async (t) => {
    const { folder, store, before } = await filledStore(t)
    const path = versionPath(store, 'signs', 'night', 2)
    await spoil(join(folder, path))
    const spoilt = await readFile(join(folder, path))
    const { report, held, store: reopened } = await reopen(folder)
    assert.deepEqual(report, { removed: [], quarantined: [{ path, reason: 'its digest is wrong' }], refused: [] })
    const old = before['signs/night']!.record
    assert.deepEqual(held['signs/night']!.record, {
      ...old, active: null, revision: old.revision + 1, versions: [old.versions[0], old.versions[2]]
    })
    assert.deepEqual(held['signs/day'], before['signs/day'])
    await assertTidy(folder, held)
    assert.deepEqual(await readFile(join(folder, '.quarantine', `${path}.1`, 'content')), spoilt)
    // A way back, and no number given twice.
    assert.equal((await reopened.rollBack('signs', 'night')).active, 1)
    assert.equal((await reopened.publish('signs', 'night', newVersion('night two'))).active, 4)
  })
}

test('5: a version that is missing is told, and one that is not active leaves the active one alone', async (t) => {
  const { folder, store, before } = await filledStore(t)
  const path = versionPath(store, 'signs', 'night', 3)
  await rm(join(folder, path))
  const { report, held } = await reopen(folder)
  assert.deepEqual(report, { removed: [], quarantined: [{ path, reason: 'it is missing' }], refused: [] })
  const { record } = held['signs/night']!
  assert.deepEqual([record.active, record.previous], [2, [1]])
  assert.deepEqual(record.versions, before['signs/night']!.record.versions.slice(0, 2))
})

test('5: a folder in place of a version is no version', async (t) => {
  const { folder, store } = await filledStore(t)
  const path = versionPath(store, 'signs', 'night', 1)
  await rm(join(folder, path))
  await writeIn(folder, join(path, 'inside'))
  const { report, held } = await reopen(folder)
  assert.deepEqual(report.quarantined.map((entry) => entry.path), [path])
  assert.deepEqual(held['signs/night']!.record.previous, [])
  await assertTidy(folder, held)
  assert.deepEqual(await readdir(join(folder, '.quarantine', `${path}.1`, 'content')), ['inside'])
})

test('5: the highest version may be lost, and its number is still not given again', async (t) => {
  const { folder, store } = await filledStore(t)
  await rm(join(folder, versionPath(store, 'signs', 'night', 3)))
  const { store: reopened } = await reopen(folder)
  const record = await reopened.publish('signs', 'night', newVersion('after'))
  assert.deepEqual(record.versions.map(({ version }) => version), [1, 2, 4])
})

test('5: a domain that loses every version stays, with none', async (t) => {
  const { folder, store } = await filledStore(t)
  await cutInHalf(join(folder, versionPath(store, 'signs', 'day', 1)))
  const { held, store: reopened } = await reopen(folder)
  assert.deepEqual([held['signs/day']!.record.versions, held['signs/day']!.record.active], [[], null])
  await assert.rejects(reopened.rollBack('signs', 'day'), hasCode('ROLLBACK_IMPOSSIBLE'))
})

test('5: the same file can go to quarantine more than once', async (t) => {
  const { folder, store } = await filledStore(t)
  const path = versionPath(store, 'signs', 'night', 1)
  const backup = join(folder, '../backup')
  await cp(folder, backup, { recursive: true })
  for (const number of [1, 2]) {
    await cp(join(backup, 'signs'), join(folder, 'signs'), { recursive: true })
    await flipBit(join(folder, path), number)
    const { report } = await reopen(folder)
    assert.equal(report.quarantined.length, 1)
    assert.equal((await readFile(join(folder, '.quarantine', `${path}.${number}`, 'content'))).length > 0, true)
  }
})

/** Writes a pointer file anew with other fields, under a right checksum. */
async function forge (path: string, changes: Record<string, unknown>): Promise<void> {
  const { checksum: _checksum, ...body } = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>
  const forged = { ...body, ...changes }
  await writeFile(path, JSON.stringify({ ...forged, checksum: sha256(JSON.stringify(forged)) }))
}

for (const [what, changes, found] of [
  ['of a format of the future', { format: 3 }, /has format 3, and this server knows formats up to 2/],
  ['with a field of the future', { owner: 'x' }, /fields that this server does not know: owner/]
] as const) {
  test(`7: a pointer ${what} is refused by name, and nothing of its domain is touched`, async (t) => {
    const { folder, before } = await filledStore(t)
    await forge(join(folder, 'signs/night/domain.json'), changes)
    // What an older server would take for remains of a crash is the newer one's business.
    await writeIn(folder, 'signs/night/000009-0123456789abcdef.safetensors')
    await writeIn(folder, 'signs/night/.tmp-domain.json-0123456789ab')
    const bytes = async () => {
      const paths = await filesBelow(folder)
      return await Promise.all(paths.map(async (path) => [path, await readFile(join(folder, path), 'hex')]))
    }
    const untouched = await bytes()
    const { report, held, store } = await reopen(folder, 1)
    assert.deepEqual([report.removed, report.quarantined, report.refused.map(({ path }) => path)], [[], [], ['signs/night']])
    assert.match(report.refused[0]!.reason, found)
    assert.deepEqual(held, { 'signs/day': before['signs/day'] })

    const refused = hasCode('STORE_FORMAT_UNKNOWN', { domain: 'night' })
    assert.throws(() => store.domain('signs', 'night'), refused)
    for (const change of [
      ...Object.values(CHANGES), () => store.read('signs', 'night', 1), () => store.readGate('signs', 'night'),
      () => store.adopt('signs', { pointer: { ...before['signs/day']!.record, domain: 'night', lastVersion: 1 } } as WholeDomain)
    ]) await assert.rejects(async () => await change(store), refused)
    assert.equal((await store.activate('signs', 'day', 1)).active, 1)
    assert.deepEqual((await bytes()).filter(([path]) => path!.includes('night')), untouched.filter(([path]) => path!.includes('night')))
  })
}

test('7: a pointer that a newer server wrote meanwhile stops the change and stays', async (t) => {
  const { folder, store } = await filledStore(t)
  const path = join(folder, 'signs/night/domain.json')
  await forge(path, { format: 3 })
  const before = await readFile(path)
  const names = await readdir(join(folder, 'signs/night'))
  for (const change of Object.values(CHANGES)) {
    await assert.rejects(change(store), hasCode('STORE_FORMAT_UNKNOWN', { received: 3 }))
  }
  assert.deepEqual(await readFile(path), before)
  assert.deepEqual(await readdir(join(folder, 'signs/night')), names)
})

test('8: what is not ours stays', async (t) => {
  const { folder, before } = await filledStore(t)
  const foreign = [
    'README', 'lost+found/x', '.git/config', 'signs/notes.txt', 'signs/.hidden/domain.json', 'signs/night/README',
    'signs/night/backup/000001-0123456789abcdef.safetensors', 'signs/night/000009-XYZ.safetensors',
    'signs/night/model.safetensors', 'signs/not a name/domain.json', 'plates/empty/README'
  ]
  for (const path of foreign) await writeIn(folder, path, `foreign ${path}`)
  const ours = (await filesBelow(folder)).filter((path) => !foreign.includes(path))
  const { report, held } = await reopen(folder)
  assert.deepEqual(report, { removed: [], quarantined: [], refused: [] })
  assert.deepEqual(held, before)
  assert.deepEqual(await filesBelow(folder), [...ours, ...foreign].sort())
  for (const path of foreign) assert.equal(await readFile(join(folder, path), 'utf8'), `foreign ${path}`)
})

test('a pointer put back from a backup takes the later versions out', async (t) => {
  const { folder, store } = await filledStore(t)
  const pointerPath = join(folder, 'signs/night/domain.json')
  const backup = await readFile(pointerPath)
  await store.publish('signs', 'night', newVersion('later'))
  await writeFile(pointerPath, backup)
  const { held } = await reopen(folder)
  assert.deepEqual(Buffer.from(serializePointer(parsePointer(backup.toString(), 'night'))), backup)
  assert.equal(held['signs/night']!.record.active, 2)
  await assertTidy(folder, held)
})

test('a store that cannot be opened says so', async (t) => {
  const folder = await temporaryFolder(t)
  await writeIn(folder, 'file')
  await assert.rejects(openFileStore(join(folder, 'file')), hasCode('STORE_UNWRITABLE'))
  await assert.rejects(openFileStore(join(folder, 'file/below')), hasCode('STORE_UNWRITABLE'))
})

test('recovery that stops at any call is finished by the next start', async (t) => {
  const { folder: template, store, before } = await filledStore(t)
  await damage(template, store)
  const torn = versionPath(store, 'signs', 'night', 2)
  const tornFile = await readFile(join(template, torn))
  const reached = new Set<string>()
  for (let n = 1; ; n++) {
    const folder = join(await temporaryFolder(t), 'domains')
    await cp(template, folder, { recursive: true })
    const stalled = await stallAt(n, () => openFileStore(folder))
    const { held } = await reopen(folder)

    assert.deepEqual(Object.keys(held), ['signs/day', 'signs/night'])
    assert.deepEqual(held['signs/day'], before['signs/day'])
    const old = before['signs/night']!.record
    assert.deepEqual(held['signs/night']!.record, {
      ...old, active: null, revision: old.revision + 1, versions: [old.versions[0], old.versions[2]]
    }, `call ${n}, ${stalled}`)
    await rm(join(folder, 'signs/night/README'))
    await assertTidy(folder, held)
    assert.deepEqual(await readdir(join(folder, 'signs')), ['day', 'night'])

    const quarantine = await readdir(join(folder, '.quarantine'), { recursive: true })
    const kept = quarantine.filter((path) => path.endsWith('content') || path.endsWith('domain.json')).sort()
    assert.equal(kept.length, 3)
    assert.match(kept[0]!, /^plates\/fog\.\d+\/content$/)
    assert.match(kept[1]!, /^plates\/fog\.\d+\/content\/domain\.json$/)
    assert.equal(kept[2]!.startsWith(torn), true)
    assert.deepEqual(await readFile(join(folder, '.quarantine', kept[2]!)), tornFile)
    if (stalled === undefined) break
    reached.add(stalled)
  }
  for (const name of ['rename', 'rm', 'readdir', 'mkdir', 'FileHandle.sync']) assert.ok(reached.has(name), name)
})
