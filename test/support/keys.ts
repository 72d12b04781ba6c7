/** Keys for tests, and the file that holds them. */
import { changeKeyFile } from '#src/access/key-file.js'
import { hashOf, makeKey } from '#src/access/key-text.js'
import type { KeyRecord } from '#src/access/key-record.js'

export interface TestKey {
  id: string
  text: string
  record: KeyRecord
  headers: { authorization: string }
}

export function testKey (scopes: KeyRecord['scopes'], more: Partial<KeyRecord> = {}): TestKey {
  const { id, text } = makeKey()
  const record: KeyRecord = {
    id, label: '', hash: hashOf(text).toString('hex'), scopes, createdAt: '2026-01-01T00:00:00Z', ...more
  }
  return { id, text, record, headers: { authorization: `Bearer ${text}` } }
}

/** Replaces all keys of a file. */
export async function writeKeys (path: string, ...keys: readonly TestKey[]): Promise<void> {
  await changeKeyFile(path, () => keys.map(({ record }) => record))
}
