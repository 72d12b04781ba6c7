import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

/** A fresh folder that goes when the test ends. */
export async function temporaryFolder (t: Pick<TestContext, 'after'>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'bankswitch-test-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** The repository's root, seen from the compiled tests. */
export const ROOT = new URL('../../../', import.meta.url).pathname
