/** Every page of the repository: what it links to and what it tells one to type exists. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { environmentName, flagName, SETTING_NAMES } from '#src/config/schema.js'
import { BENCHES } from '../../bench/benches.js'
import { readDocument as read } from '../support/documents.js'
import { ROOT } from '../support/folders.js'
import { anchorsOf, commandsOf, linksOf, pages } from '../support/markdown.js'

const README_WORDS_MAX = 1000
const SCRIPTS_MAX = 15

const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }

/** What is wrong with the links of a page at `path`. */
function faultsOfLinks (path: string, page: string): string[] {
  return linksOf(page).flatMap((link) => {
    const [file, anchor] = link.split('#')
    const target = file === '' ? path : join(dirname(path), file!)
    if (file !== '' && !existsSync(join(ROOT, target))) return [`${link}: there is no ${target}`]
    if (anchor === undefined) return []
    return anchorsOf(file === '' ? page : read(target)).has(anchor) ? [] : [`${link}: ${target} has no such heading`]
  })
}

/** What is wrong with one line for a shell. */
async function faultsOfCommand (command: string): Promise<string[]> {
  const [, script] = /^npm run ([\w:-]+)/.exec(command) ?? []
  const [, bench = 'NAME'] = /^npm run bench -- (\S+)/.exec(command) ?? []
  if (bench !== 'NAME' && !BENCHES.some(({ name }) => name === bench)) return [`there is no benchmark ${bench}`]
  if (script !== undefined) return script in scripts ? [] : [`there is no script ${script}`]
  const [, line] = /^(?:npx bankswitch|node dist\/main\.js|bankswitch) (.+)$/.exec(command) ?? []
  if (line === undefined) return []
  const [name, verb, ...rest] = line.split(/\s+/)
  if (!/^[a-z]+$/.test(name!)) return []
  if (!existsSync(join(ROOT, `src/cli/${name}.ts`))) return [`there is no command ${name}`]
  const { command: { help } } = await import(`#src/cli/${name}.js`) as { command: { help: string } }
  const known = new Set([...help.matchAll(/--[a-z-]+/g)].map(([flag]) => flag))
  if (name === 'serve') for (const setting of SETTING_NAMES) known.add(`--${flagName(setting)}`)
  const verbs = [...help.matchAll(/^bankswitch [a-z]+ ([a-z]+)\b/gm)].map(([, known]) => known)
  const isVerbWrong = verbs.length > 0 && /^[a-z]/.test(verb ?? '') && !verbs.includes(verb)
  const flags = [verb ?? '', ...rest].filter((word) => word.startsWith('--')).map((word) => word.split('=')[0]!)
  return [
    ...isVerbWrong ? [`${name} has no ${verb}`] : [],
    ...flags.filter((flag) => flag !== '--help' && !known.has(flag)).map((flag) => `${name} has no ${flag}`)
  ]
}

/** Settings that a page names and that do not exist. */
function faultsOfSettings (page: string): string[] {
  const known = new Set(SETTING_NAMES.map(environmentName))
  return [...page.matchAll(/\bBANKSWITCH_[A-Z_]*[A-Z]\b/g)].map(([name]) => name).filter((name) => !known.has(name))
}

describe('every page', () => {
  it('is found', () => {
    for (const path of ['README.md', 'docs/api.md', 'bench/README.md', 'models/sr-x2/README.md']) assert.ok(pages().includes(path), path)
  })

  for (const path of pages()) {
    const page = read(path)

    it(`${path}: links lead somewhere`, () => {
      assert.deepEqual(faultsOfLinks(path, page), [])
    })

    it(`${path}: commands, their flags and settings exist`, async () => {
      const faults = await Promise.all(commandsOf(page).map(faultsOfCommand))
      assert.deepEqual([...faults.flat(), ...faultsOfSettings(page)], [])
    })
  }

  it('would be refused if it were wrong', async () => {
    assert.deepEqual(faultsOfLinks('docs/x.md', '# A b\n[a](#a-b) [b](#b) [c](gone.md) [d](../README.md#licence) [e](../README.md#gone)'), [
      '#b: docs/x.md has no such heading', 'gone.md: there is no docs/gone.md', '../README.md#gone: README.md has no such heading'
    ])
    assert.deepEqual(commandsOf('text `npm run a`\n```sh\nx && npx bankswitch keys \\\n  add\n```\n'), ['x', 'npx bankswitch keys    add', 'npm run a'])
    for (const [command, fault] of [
      ['npm run gone', 'there is no script gone'],
      ['npm run bench -- gone --write', 'there is no benchmark gone'],
      ['npx bankswitch gone', 'there is no command gone'],
      ['node dist/main.js keys gone', 'keys has no gone'],
      ['npx bankswitch serve --queue-rows 2 --gone 1', 'serve has no --gone'],
      ['npx bankswitch calibrate --mode fixed --gone=1 x', 'calibrate has no --gone']
    ] as const) assert.deepEqual(await faultsOfCommand(command), [fault])
    assert.deepEqual(faultsOfSettings('`BANKSWITCH_PORT` `BANKSWITCH_GONE`'), ['BANKSWITCH_GONE'])
  })
})

describe('package.json', () => {
  it(`has no more than ${SCRIPTS_MAX} scripts`, () => {
    assert.ok(Object.keys(scripts).length <= SCRIPTS_MAX, Object.keys(scripts).join())
  })
})

describe('README.md', () => {
  const readme = read('README.md')

  it(`has no more than ${README_WORDS_MAX} words`, () => {
    const words = readme.split(/\s+/).filter((word) => word !== '').length
    assert.ok(words > 300 && words <= README_WORDS_MAX, `${words} words`)
  })

  it('names every shipped model', () => {
    for (const name of readdirSync(join(ROOT, 'models'))) assert.ok(readme.includes(`[\`${name}\`](models/${name}/README.md)`), name)
  })

  it('leads to every page of docs/', () => {
    const index = read('docs/README.md')
    for (const path of pages().filter((one) => one.startsWith('docs/') && one !== 'docs/README.md')) {
      assert.ok(readme.includes(`(${path})`), `README.md has no link to ${path}`)
      assert.ok(index.includes(`(${path.slice('docs/'.length)})`), `docs/README.md has no link to ${path}`)
    }
  })
})
