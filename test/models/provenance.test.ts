/** What is shipped is what the recipe made: graph, goldens, and the statistics of every bank. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { sha256 } from '#src/base/digest.js'
import { parseSafetensors, serializeSafetensors, type TensorToWrite } from '#src/bank/formats/safetensors.js'
import { isSignatureTensor } from '#src/signature/file-parts.js'
import { ROOT } from '../support/folders.js'
import type { DomainRecord } from '#src/store/bank-store.js'

interface Provenance { recipe: string, sha256: Record<string, string> }

const models = readdirSync(join(ROOT, 'models'))

test('there are models', () => assert.ok(models.length > 0))

/** The recipe's file of a bank: the tensors of the active version, without what the store and the signature add. */
function recipeFile (model: string, domain: string): Uint8Array {
  const folder = join(ROOT, 'domains', model, domain)
  const { active, versions } = JSON.parse(readFileSync(join(folder, 'domain.json'), 'utf8')) as DomainRecord
  const { version, sha256: digest } = versions.find((candidate) => candidate.version === active)!
  const file = readFileSync(join(folder, `${String(version).padStart(6, '0')}-${digest.slice(0, 16)}.safetensors`))
  const ofBank = [...parseSafetensors(file).tensors].filter(([name]) => !isSignatureTensor(name))
  const tensors = ofBank.map(([name, { dtype, shape, bytes }]) => ({ name, dtype, shape, bytes }))
  return serializeSafetensors(tensors as TensorToWrite[], new Map())
}

for (const model of models) {
  test(`${model}: every digest of its provenance is that of what is shipped`, () => {
    const provenance = JSON.parse(readFileSync(join(ROOT, 'models', model, 'provenance.json'), 'utf8')) as Provenance
    assert.ok(existsSync(join(ROOT, provenance.recipe)))
    const names = Object.keys(provenance.sha256)
    for (const name of names) {
      const [, domain] = /^bank (.+)$/.exec(name) ?? []
      const bytes = domain !== undefined
        ? recipeFile(model, domain)
        : readFileSync(name === 'golden' ? join(ROOT, 'test/golden', `${model}.safetensors`) : join(ROOT, 'models', model, name))
      assert.equal(sha256(bytes), provenance.sha256[name], name)
    }
    const domains = readdirSync(join(ROOT, 'domains', model))
    assert.deepEqual(names.filter((name) => name.startsWith('bank ')).toSorted(), domains.map((domain) => `bank ${domain}`).toSorted())
  })
}
