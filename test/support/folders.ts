import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
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

export const SIGNS = 'traffic-signs'

/** Puts one shipped model, and a copy of its domains, into `folder`: models/ and domains/, as a server expects them. */
export async function shipSigns (folder: string): Promise<{ modelsDir: string, domainsDir: string }> {
  const [modelsDir, domainsDir] = [join(folder, 'models'), join(folder, 'domains')]
  await mkdir(modelsDir)
  await symlink(join(ROOT, 'models', SIGNS), join(modelsDir, SIGNS))
  await cp(join(ROOT, 'domains', SIGNS), join(domainsDir, SIGNS), { recursive: true })
  return { modelsDir, domainsDir }
}
