/**
 * Documents that must agree with the code. The generated parts are written by
 *
 *   UPDATE_DOCUMENTS=1 npm test
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { errorCatalogue } from '#src/base/errors.js'
import { environmentName, SETTING_NAMES, settingsShape } from '#src/config/schema.js'
import { STATUS_OF } from '#src/http/error-map.js'
import '#src/http/app.js'
import { PASSES } from '#src/compiler/passes.js'
import { assertDocument, readDocument as read } from '../support/documents.js'
import { ROOT } from '../support/folders.js'

interface Described { description?: string, default?: unknown, defaultText?: string }

describe('documents', () => {
  it('README: the table of settings is the schema', () => {
    const rows = SETTING_NAMES.map((setting) => {
      const { description, default: fallback, defaultText } = settingsShape[setting] as Described
      const shown = defaultText ?? (fallback === undefined ? '' : `\`${String(fallback)}\``)
      return `| \`${environmentName(setting)}\` | ${description} | ${shown} |`
    })
    const table = ['| name | meaning | default |', '|---|---|---|', ...rows].join('\n')
    const readme = read('README.md')
    const expected = readme.replace(/<!-- settings -->[\s\S]*<!-- \/settings -->/, `<!-- settings -->\n${table}\n<!-- /settings -->`)
    assertDocument('README.md', expected)
  })

  it('docs/errors.md: the table of codes is the catalogue', () => {
    const rows = [...errorCatalogue()].toSorted(([a], [b]) => a < b ? -1 : 1)
      .map(([code, kind]) => `| \`${code}\` | ${kind} | ${STATUS_OF[kind]} |`)
    assertDocument('docs/errors.md', [
      '# Error codes',
      '',
      'Every error answer is `{"error", "code", "requestId", "details"}`. Codes are stable: programs may depend on them.',
      '499 is only logged: the client is gone. A code with 5xx whose kind is corrupt or internal hides its message; the',
      'log has it under the request id.',
      '',
      '| code | kind | status |',
      '|---|---|---|',
      ...rows,
      ''
    ].join('\n'))
  })

  it('ARCHITECTURE.md names every room', () => {
    const text = read('ARCHITECTURE.md')
    for (const room of ['base', 'config', 'observability', 'access', 'onnx', 'bank', 'imaging', 'ort', 'compiler', 'store', 'models', 'runtime', 'calibration', 'serving', 'http', 'cli']) {
      assert.ok(text.includes(`\`${room}/\``), room)
    }
  })

  it('ARCHITECTURE.md: the passes are the compiler\'s table', () => {
    const promisedBy = new Map<string, number>()
    const rows = PASSES.map(({ name, file, does, requires, ensures }, at) => {
      const needs = [...new Set(requires.map((invariant) => promisedBy.get(invariant.name)!))].sort((a, b) => a - b).join(', ')
      for (const invariant of ensures) promisedBy.set(invariant.name, at + 1)
      return `| ${at + 1} | [${name}](src/compiler/${file}) | ${does} | ${needs} | ${ensures.map((invariant) => invariant.name).join('; ')} |`
    })
    const table = ['| | pass | what it does | requires what these ensure | ensures |', '|---|---|---|---|---|', ...rows].join('\n')
    const expected = read('ARCHITECTURE.md').replace(/<!-- passes -->[\s\S]*<!-- \/passes -->/, () => `<!-- passes -->\n${table}\n<!-- /passes -->`)
    assertDocument('ARCHITECTURE.md', expected)
  })

  it('README: its scripts and links exist', () => {
    const readme = read('README.md')
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    for (const [, script] of readme.matchAll(/npm run ([\w:-]+)/g)) assert.ok(scripts[script!], `npm run ${script}`)
    for (const [, link] of readme.matchAll(/\]\((?!http)([^)#]+)\)/g)) assert.ok(existsSync(join(ROOT, link!)), link)
  })
})
