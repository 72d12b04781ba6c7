/** Documents of which a part, or all, is generated: they are compared, or with UPDATE_DOCUMENTS=1 written first. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './folders.js'

const isUpdate = process.env.UPDATE_DOCUMENTS === '1'

/** The document as it is. */
export function readDocument (path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}

export function assertDocument (path: string, expected: string): void {
  if (isUpdate) writeFileSync(join(ROOT, path), expected)
  assert.equal(existsSync(join(ROOT, path)) ? readDocument(path) : '', expected, `${path} is stale; run UPDATE_DOCUMENTS=1 npm test`)
}

/** The same for what stands between `<!-- name -->` and `<!-- /name -->`. */
export function assertSection (path: string, name: string, expected: string): void {
  const page = readDocument(path)
  const section = new RegExp(`<!-- ${name} -->\\n[\\s\\S]*<!-- /${name} -->`)
  assert.match(page, section, `${path} has no section ${name}`)
  assertDocument(path, page.replace(section, () => `<!-- ${name} -->\n${expected}\n<!-- /${name} -->`))
}
