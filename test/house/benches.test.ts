/** The list of benchmarks, their files and their sections in bench/README.md are the same. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { BENCHES } from '../../bench/benches.js'
import { withSection } from '../../bench/report.js'
import { readDocument as read } from '../support/documents.js'
import { ROOT } from '../support/folders.js'

const names = BENCHES.map(({ name }) => name)
const page = read('bench/README.md')

function run (...args: string[]) {
  return spawnSync(process.execPath, [join(ROOT, 'build/bench/run.js'), ...args], { encoding: 'utf8' })
}

describe('npm run bench', () => {
  it('lists every file that publishes figures', () => {
    const publishing = readdirSync(join(ROOT, 'bench')).filter((file) => file.endsWith('.ts') && file !== 'report.ts')
      .flatMap((file) => [...read(`bench/${file}`).matchAll(/\b(?:openBench|publish)\('([\w-]+)'/g)].map(([, name]) => ({ file, name: name! })))
    assert.deepEqual(publishing.filter(({ file, name }) => file !== `${name}.ts`), [])
    assert.deepEqual(publishing.map(({ name }) => name).toSorted(), names.toSorted())
    for (const name of names) assert.ok(read(`bench/${name}.ts`).includes(`npm run bench -- ${name} `), `bench/${name}.ts does not say how it is run`)
  })

  it('without a name shows them all', () => {
    const { status, stdout } = run()
    assert.equal(status, 0)
    const lines = stdout.split('\n').map((line) => line.trim())
    for (const { name, shows, minutes } of BENCHES) {
      assert.ok(lines.some((line) => line.startsWith(`${name} `) && line.endsWith(`  ${shows} (${minutes} min)`)), name)
    }
  })

  it('refuses a name that is not in the list, and shows it', () => {
    const { status, stdout, stderr } = run('../test/house/benches.test')
    assert.equal(status, 64)
    assert.equal(stdout, '')
    assert.match(stderr, /^there is no benchmark "\.\.\/test/)
    for (const name of names) assert.ok(stderr.includes(` ${name} `), name)
  })

  it('passes arguments and the exit code on', () => {
    const { status, stderr } = run('livez', '--gone')
    assert.equal(status, 1)
    assert.match(stderr, /--gone/)
  })
})

describe('bench/README.md', () => {
  it('has a section for each benchmark, in the order of the list', () => {
    const headings = [...page.matchAll(/^## .*: `npm run bench -- ([\w-]+)`$/gm)].map(([, name]) => name)
    assert.deepEqual(headings, names)
    const marks = [...page.matchAll(/^<!-- (\/?)bench ([\w-]+) -->$/gm)].map(([, slash, name]) => slash! + name!)
    assert.deepEqual(marks, names.flatMap((name) => [name, `/${name}`]))
  })

  it('has figures in each section', () => {
    for (const name of names) {
      const [, figures] = page.split(`<!-- bench ${name} -->\n`)
      assert.match(figures!.split(`<!-- /bench ${name} -->`)[0]!, /\d/, name)
    }
  })

  it('changes only in the section that is written', () => {
    const before = 'a\n<!-- bench x -->\nold $1\n<!-- /bench x -->\nb\n<!-- bench y -->\nkept\n<!-- /bench y -->\n'
    assert.equal(withSection(before, 'x', '\nnew $&\n'), before.replace('old $1', () => 'new $&'))
    assert.throws(() => withSection(before, 'z', 'new'), /no section "z"/)
  })
})
