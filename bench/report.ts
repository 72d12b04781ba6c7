/** Figures in bench/README.md stand between marks, and are written by the command that measured them. */
import { readFile, writeFile } from 'node:fs/promises'

const README = new URL('../../bench/README.md', import.meta.url)

/** Replaces what stands between `<!-- name -->` and `<!-- /name -->`. */
export async function writeSection (name: string, text: string): Promise<void> {
  const page = await readFile(README, 'utf8')
  const [start, end] = [`<!-- ${name} -->\n`, `<!-- /${name} -->`]
  const [from, to] = [page.indexOf(start), page.indexOf(end)]
  if (from < 0 || to < 0) throw new Error(`bench/README.md has no section "${name}"`)
  await writeFile(README, `${page.slice(0, from)}${start}${text.trim()}\n${page.slice(to)}`)
}
