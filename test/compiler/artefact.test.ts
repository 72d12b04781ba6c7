import assert from 'node:assert/strict'
import { readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { sha256 } from '#src/base/digest.js'
import { GRAPH_FILE, STEM_FILE, readArtefact, WEIGHTS_FILE } from '#src/compiler/artefact.js'
import { artefactParts, writeSampleArtefact } from '../support/artefact.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'

const FILES = ['artefact.json', GRAPH_FILE, WEIGHTS_FILE, 'arrays.bin', 'own-bank.safetensors']

async function written (t: TestContext, parts = artefactParts()): Promise<string> {
  const folder = await temporaryFolder(t)
  await writeSampleArtefact(folder, parts)
  return folder
}

const corrupt = (folder: string) => assert.rejects(readArtefact(folder), hasCode('ARTEFACT_CORRUPT', { folder }))

describe('round trip', () => {
  test('what was written is read', async (t) => {
    const given = artefactParts()
    const folder = await written(t, given)
    const artefact = await readArtefact(folder)
    assert.deepEqual(artefact, {
      ...given.description,
      stem: given.stem!,
      folder,
      graphPath: join(folder, GRAPH_FILE),
      stemPath: join(folder, STEM_FILE),
      bankInputs: given.bankInputs,
      layout: given.layout,
      ownBank: given.ownBank
    })
  })

  test('layers keep their order, floats their bits', async (t) => {
    const artefact = await readArtefact(await written(t))
    assert.deepEqual([...artefact.ownBank.keys()], artefactParts().description.layers.map(({ key }) => key))
    assert.ok(Object.is(artefact.layout.ports[0]!.weights![1], -0))
  })

  test('a model without large weights has an empty weights file', async (t) => {
    const folder = await temporaryFolder(t)
    await writeSampleArtefact(folder, artefactParts(), '')
    assert.equal((await readArtefact(folder)).weightBytes, 1234)
  })
})

describe('an artefact is corrupt', () => {
  for (const name of FILES) {
    test(`without ${name}`, async (t) => {
      const folder = await written(t)
      await rm(join(folder, name))
      await corrupt(folder)
    })

    test(`with ${name} cut short by a byte, or to nothing`, async (t) => {
      const folder = await written(t)
      const { length } = await readFile(join(folder, name))
      for (const size of [length - 1, 0]) {
        await truncate(join(folder, name), size)
        await corrupt(folder)
      }
    })

    test(`with a bit flipped in ${name}`, async (t) => {
      const folder = await written(t)
      const bytes = await readFile(join(folder, name))
      for (const at of [0, Math.floor(bytes.length / 2), bytes.length - 1]) {
        const changed = Buffer.from(bytes)
        changed[at]! ^= 1
        await writeFile(join(folder, name), changed)
        await corrupt(folder)
      }
    })

    test(`with a byte behind ${name}`, async (t) => {
      const folder = await written(t)
      await writeFile(join(folder, name), Buffer.concat([await readFile(join(folder, name)), Buffer.of(1)]))
      await corrupt(folder)
    })
  }

  test('when it is a folder without anything', async (t) => {
    await corrupt(await temporaryFolder(t))
  })

  test('when it is no folder', async (t) => {
    const path = join(await temporaryFolder(t), 'file')
    await writeFile(path, '')
    await corrupt(path)
  })
})

describe('artefact.json', () => {
  const rewrite = async (folder: string, change: (text: string) => string) => {
    const path = join(folder, 'artefact.json')
    const before = await readFile(path, 'utf8')
    const after = change(before)
    assert.notEqual(after, before)
    await writeFile(path, after)
  }

  /** Changes the content and signs it again, as another version of the program might write it. */
  const resigned = async (folder: string, change: (content: ReturnType<typeof JSON.parse>) => void) => {
    await rewrite(folder, (text) => {
      const { digest, ...content } = JSON.parse(text)
      change(content)
      return JSON.stringify({ ...content, digest: sha256(JSON.stringify(content)) })
    })
  }

  for (const [title, from, to] of [
    ['a number', '"offset": 16', '"offset": 17'],
    ['an epsilon', '"epsilon": 0', '"epsilon": 1'],
    ['a kind', '"kind": "fold"', '"kind": "affine"'],
    ['a truth', '"isRowInvariant": true', '"isRowInvariant": false'],
    ['a role', '"role": "scale"', '"role": "shift"']
  ] as const) {
    test(`${title} that was changed is noticed`, async (t) => {
      const folder = await written(t)
      await rewrite(folder, (text) => text.replace(from, to))
      await corrupt(folder)
    })
  }

  test('a change that was signed is trusted', async (t) => {
    const folder = await written(t)
    await resigned(folder, (content) => { content.weightBytes = 4321 })
    assert.equal((await readArtefact(folder)).weightBytes, 4321)
  })

  for (const [title, change] of [
    ['another format', (content) => { content.format = 1 }],
    ['a missing part', (content) => { delete content.layers }],
    ['a kind that is unknown', (content) => { content.sites[0].kind = 'other' }],
    ['a negative offset', (content) => { content.bank.ports[0].offset = -1 }],
    ['a span beyond arrays.bin', (content) => { content.bank.ports[0].channel.length = 1000 }],
    ['a stem that stands still', (content) => { content.stem.convolution.strides[0] = 0 }],
    ['a stem of another kernel', (content) => { content.stem.convolution.kernel[0] = 2 }],
    ['a stem of more channels than its convolution', (content) => { content.stem.channels.push(content.stem.channels[0]) }],
    ['a bank of another layer', (content) => { content.layers[0].key = 'other' }],
    ['a bank of another width', (content) => { content.layers[0].channels = 4 }]
  ] as Array<[string, (content: ReturnType<typeof JSON.parse>) => void]>) {
    test(`is refused for ${title}, signed or not`, async (t) => {
      const folder = await written(t)
      await resigned(folder, change)
      await corrupt(folder)
    })
  }
})
