/**
 * Documents that must agree with the code. The generated parts are written by
 *
 *   UPDATE_DOCUMENTS=1 npm test
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BANK_FORMATS } from '#src/bank/formats/table.js'
import { errorCatalogue } from '#src/base/errors.js'
import { optionsShape } from '#src/calibration/options.js'
import { environmentName, SETTING_NAMES, settingsShape } from '#src/config/schema.js'
import { STATUS_OF } from '#src/http/error-map.js'
import '#src/engine.js'
import '#src/http/app.js'
import { PASSES } from '#src/compiler/passes.js'
import { assertDocument, assertSection, readDocument as read } from '../support/documents.js'

interface Described { description?: string, default?: unknown, defaultText?: string }

describe('documents', () => {
  it('docs/settings.md: the table is the schema', () => {
    const rows = SETTING_NAMES.map((setting) => {
      const { description, default: fallback, defaultText } = settingsShape[setting] as Described
      const shown = defaultText ?? (fallback === undefined ? '' : `\`${String(fallback)}\``)
      return `| \`${environmentName(setting)}\` | ${description} | ${shown} |`
    })
    assertSection('docs/settings.md', 'settings', ['| name | meaning | default |', '|---|---|---|', ...rows].join('\n'))
  })

  it('docs/calibration.md: the table of options is their schema', () => {
    const rows = Object.entries(optionsShape as Record<string, Described>).map(([name, { description, default: fallback }]) => {
      const shown = fallback === undefined || Array.isArray(fallback) ? '' : `\`${String(fallback)}\``
      return `| \`${name}\` | ${description} | ${shown} |`
    })
    assertSection('docs/calibration.md', 'options', ['| option | meaning | default |', '|---|---|---|', ...rows].join('\n'))
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

  it('docs/domains.md tells every format of banks by its types and names', () => {
    const text = read('docs/domains.md')
    for (const { mediaTypes, extensions } of BANK_FORMATS) {
      for (const told of [...mediaTypes, ...extensions]) assert.ok(text.includes(`\`${told}\``), told)
    }
  })

  it('ARCHITECTURE.md names every room', () => {
    const text = read('ARCHITECTURE.md')
    for (const room of ['base', 'config', 'observability', 'access', 'onnx', 'bank', 'imaging', 'ort', 'compiler', 'store', 'models', 'runtime', 'calibration', 'serving', 'http', 'cli', 'web']) {
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
    assertSection('ARCHITECTURE.md', 'passes', table)
  })
})
