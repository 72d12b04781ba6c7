/**
 * Runs a benchmark in a process of its own, or lists them all; further arguments are passed on.
 *
 *   npm run bench [-- NAME [options] [--write]]
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { BENCHES, listing } from './benches.js'

const EXIT_USAGE = 64

const [name, ...rest] = process.argv.slice(2)
if (name === undefined || name === '--help') {
  process.stdout.write(listing())
} else if (!BENCHES.some((bench) => bench.name === name)) {
  process.stderr.write(`there is no benchmark "${name}"\n\n${listing()}`)
  process.exitCode = EXIT_USAGE
} else {
  const file = fileURLToPath(new URL(`${name}.js`, import.meta.url))
  const { status, error } = spawnSync(process.execPath, ['--enable-source-maps', file, ...rest], { stdio: 'inherit' })
  if (error !== undefined) throw error
  process.exitCode = status ?? 1
}
