/** The admin key: from the settings, or from a file that the first start makes. */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { makeFolderDurably, writeDurably } from '../base/durable-file.js'
import { hasErrno } from '../base/errors.js'
import { configErrors } from './load.js'
import type { Settings } from './schema.js'

const KEY_BYTES = 32
const KEY_LENGTH_MIN = 16
const OWNER_ONLY = 0o600

export interface AdminKey {
  key: string
  /** The file it stands in; absent when it came from the settings. */
  path?: string
  isNew: boolean
}

/** Throws CONFIG_INVALID when the file holds no usable key, or the errno error when it cannot be made. */
export async function obtainAdminKey (settings: Pick<Settings, 'adminKey' | 'adminKeyFile'>): Promise<AdminKey> {
  if (settings.adminKey !== undefined) return { key: settings.adminKey, isNew: false }
  const path = resolve(settings.adminKeyFile)
  try {
    const key = (await readFile(path, 'utf8')).trim()
    if (key.length < KEY_LENGTH_MIN) {
      throw configErrors.CONFIG_INVALID(`the admin key in ${path} is too short`, {
        expected: `at least ${KEY_LENGTH_MIN} characters`, received: key.length
      })
    }
    return { key, path, isNew: false }
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error
  }
  const key = randomBytes(KEY_BYTES).toString('base64url')
  await makeFolderDurably(dirname(path))
  await writeDurably(path, Buffer.from(`${key}\n`), OWNER_ONLY)
  return { key, path, isNew: true }
}
