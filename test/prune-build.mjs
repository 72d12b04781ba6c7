/** Removes compiled tests whose source has moved or gone: the compiler leaves them, and they would still run. */
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const build = join(root, 'build')

for (const entry of readdirSync(build, { recursive: true, withFileTypes: true })) {
  const compiled = join(entry.parentPath, entry.name)
  const source = join(root, compiled.slice(build.length)).replace(/(\.js|\.d\.ts)(\.map)?$/, '.ts')
  if (entry.isFile() && source.endsWith('.ts') && !existsSync(source)) rmSync(compiled)
}
