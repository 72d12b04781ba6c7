import assert from 'node:assert/strict'
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { readRepository } from '#src/models/repository.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'
import { MANIFEST } from './fixtures/manifests.js'

async function addModel (folder: string, name: string): Promise<void> {
  await mkdir(join(folder, name))
  await writeFile(join(folder, name, 'manifest.json'), JSON.stringify({ ...MANIFEST, name }))
  await writeFile(join(folder, name, 'labels.json'), JSON.stringify([`${name} one`, 'two']))
}

test('models come in the order of their names, with their labels and paths', async (t) => {
  const folder = await temporaryFolder(t)
  assert.deepEqual(await readRepository(folder), [])
  for (const name of ['signs', 'plates', 'Faces']) await addModel(folder, name)
  await mkdir(join(folder, '.git'))
  await writeFile(join(folder, 'README.md'), '')
  assert.deepEqual(await readRepository(folder), ['Faces', 'plates', 'signs'].map((name) => ({
    manifest: { ...MANIFEST, name },
    labels: [`${name} one`, 'two'],
    folder: join(folder, name),
    graphPath: join(folder, name, 'model.onnx')
  })))
})

test('a model may stand elsewhere behind a link; a link to nothing is told', async (t) => {
  const [folder, elsewhere] = [await temporaryFolder(t), await temporaryFolder(t)]
  await addModel(elsewhere, 'signs')
  await symlink(join(elsewhere, 'signs'), join(folder, 'signs'))
  assert.deepEqual((await readRepository(folder)).map(({ manifest: { name } }) => name), ['signs'])
  await symlink(join(elsewhere, 'gone'), join(folder, 'gone'))
  await assert.rejects(readRepository(folder), hasCode('MODEL_FILE_UNREADABLE'))
})

test('a folder that cannot be read is told', async (t) => {
  const folder = await temporaryFolder(t)
  await assert.rejects(readRepository(join(folder, 'none')), hasCode('MODEL_FILE_UNREADABLE'))
  await writeFile(join(folder, 'file'), '')
  await assert.rejects(readRepository(join(folder, 'file')), hasCode('MODEL_FILE_UNREADABLE'))
})

test('one bad model refuses the whole repository, naming it', async (t) => {
  const folder = await temporaryFolder(t)
  await addModel(folder, 'signs')
  await addModel(folder, 'plates')
  const refused = async (code: string, message: RegExp) => {
    await assert.rejects(readRepository(folder), (error: Error) => {
      assert.match(error.message, message)
      return hasCode(code)(error)
    })
  }
  await rm(join(folder, 'plates/labels.json'))
  await refused('MANIFEST_INVALID', /labels/)
  await writeFile(join(folder, 'plates/manifest.json'), JSON.stringify(MANIFEST))
  await refused('MANIFEST_INVALID', /"plates".*\/name must be the folder's name/)
  await rm(join(folder, 'plates/manifest.json'))
  await refused('MANIFEST_INVALID', /"plates" has no manifest\.json/)
  await mkdir(join(folder, 'plates/manifest.json'))
  await refused('MODEL_FILE_UNREADABLE', /"plates"/)
  await rm(join(folder, 'plates'), { recursive: true })
  assert.equal((await readRepository(folder)).length, 1)
  await mkdir(join(folder, 'no name'))
  await refused('MANIFEST_INVALID', /"no name" is no name/)
})
