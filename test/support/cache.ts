/** Where tests keep compiled models, so that each is compiled once per compiler. */
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { compilerRevision } from '#src/compiler/revision.js'
import { ROOT } from './folders.js'

/** Other compilers' folders go once they are this old: until then a test of theirs may still run. */
const STALE_AFTER_MS = 60 * 60 * 1000

/** A folder of this compiler's own; what other compilers left is removed. */
export function testCache (): string {
  const folders = join(ROOT, 'build', 'test-cache')
  const own = compilerRevision()
  mkdirSync(join(folders, own), { recursive: true })
  for (const name of readdirSync(folders)) {
    const found = statSync(join(folders, name), { throwIfNoEntry: false })
    const isStale = name !== own && found !== undefined && Date.now() - found.mtimeMs > STALE_AFTER_MS
    if (isStale) rmSync(join(folders, name), { recursive: true, force: true })
  }
  return join(folders, own)
}
