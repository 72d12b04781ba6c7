/** What a benchmark is given and what becomes of its figures: they are printed, and with --write they stand in README.md. */
import { readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { runtimeVersion } from '#src/ort/platform.js'

const README = new URL('../../bench/README.md', import.meta.url)

/** Of a processor's features those that decide how fast convolutions are. */
const FEATURES = ['avx2', 'fma', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_int8', 'asimd', 'asimddp', 'sve']

export interface Bench<Name extends string> {
  values: Readonly<Record<Name, string>>
  /** Prints Markdown; with --write it replaces the section of the benchmark, under machine, date and command. */
  publish (figures: string): Promise<void>
}

/** Reads the arguments of the benchmark `name`, of which each takes a value and has a default. */
export function openBench<Name extends string> (name: string, defaults: Readonly<Record<Name, string>>): Bench<Name> {
  const options = Object.entries<string>(defaults).map(([option, fallback]) => [option, { type: 'string', default: fallback }] as const)
  const { values } = parseArgs({ options: { ...Object.fromEntries(options), write: { type: 'boolean', default: false } } })
  return {
    values: values as unknown as Record<Name, string>,
    publish: (figures) => publish(name, figures, values.write === true)
  }
}

/** See `Bench.publish`. */
export async function publish (name: string, figures: string, isWritten: boolean): Promise<void> {
  const text = `${machine()}\n\`${command(name)}\`\n\n${figures.trim()}`
  console.log(text)
  if (isWritten) await writeFile(README, withSection(await readFile(README, 'utf8'), name, text))
}

/** `page` with another text between `<!-- bench name -->` and `<!-- /bench name -->`. Throws if it has no such marks. */
export function withSection (page: string, name: string, text: string): string {
  const [start, end] = [`<!-- bench ${name} -->\n`, `<!-- /bench ${name} -->`]
  const [from, to] = [page.indexOf(start), page.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`bench/README.md has no section "${name}"`)
  return `${page.slice(0, from)}${start}${text.trim()}\n${page.slice(to)}`
}

function machine (): string {
  const features = FEATURES.filter((feature) => processorFeatures().has(feature))
  return `${new Date().toISOString().slice(0, 10)}, ${cpus().length} cores of ${cpus()[0]?.model.trim()} (${features.join(', ')}), ` +
    `Node ${process.version}, ONNX Runtime ${runtimeVersion()}:`
}

function processorFeatures (): Set<string> {
  try {
    return new Set(/^(?:flags|Features)\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' '))
  } catch {
    // Not Linux: the model's name has to do.
    return new Set()
  }
}

function command (name: string): string {
  const args = process.argv.slice(2).filter((arg) => arg !== '--write')
  return ['npm run bench --', name, ...args].join(' ')
}
