/** Settings from defaults, environment and flags, in that order of precedence: a pure function of its inputs. */
import { parseArgs } from 'node:util'
import { defineErrors } from '../base/errors.js'
import { checkOf } from '../base/json-schema.js'
import { areNetworks, NETWORKS_FORMAT } from './networks.js'
import {
  ENVIRONMENT_PREFIX, environmentName, flagName, isSecret, SETTING_NAMES, SettingsSchema, settingsShape, type Settings
} from './schema.js'

export const configErrors = defineErrors({ CONFIG_INVALID: 'invalid' })

const validate = checkOf<Settings>(SettingsSchema, {
  allErrors: true,
  useDefaults: true,
  strictNumbers: false,
  keywords: ['secret', 'defaultText'],
  formats: { [NETWORKS_FORMAT]: areNetworks }
})

/** How an unbounded number is written. */
const INFINITE = 'infinite'

/**
 * Throws CONFIG_INVALID with every fault at once: unknown BANKSWITCH_* names, unknown flags, values that are not of
 * their type or out of bounds. Secrets have no flag, because other users of a machine can read command lines. The
 * result is frozen.
 */
export function loadSettings (environment: Readonly<Record<string, string | undefined>>, flags: string[]): Settings {
  const faults: string[] = []
  const given = { ...fromEnvironment(environment, faults), ...fromFlags(flags, faults) }
  const sources = new Map<string, string>()
  const candidate: Record<string, unknown> = {}
  for (const [setting, { text, source }] of Object.entries(given)) {
    candidate[setting] = coerce(setting, text)
    sources.set(setting, source)
  }
  if (!validate(candidate)) {
    const seen = new Set<string>()
    for (const { instancePath, message, params } of validate.errors) {
      const setting = instancePath.slice(1)
      if (seen.has(setting)) continue
      seen.add(setting)
      const received = isSecret(setting) ? '(secret)' : String(given[setting]?.text)
      const expected = setting === 'logLevel' ? `one of ${logLevels().join(', ')}` : `${message} ${detail(params)}`
      faults.push(`${sources.get(setting)}: ${expected.trim()}, received "${received}"`)
    }
  }
  if (faults.length > 0) {
    const list = faults.map((fault) => `  ${fault}`).join('\n')
    throw configErrors.CONFIG_INVALID(`the settings are refused:\n${list}`, { faults })
  }
  return Object.freeze(candidate as unknown as Settings)
}

type Given = Record<string, { text: string, source: string }>

function fromEnvironment (environment: Readonly<Record<string, string | undefined>>, faults: string[]): Given {
  const settingOf = new Map(SETTING_NAMES.map((setting) => [environmentName(setting), setting]))
  const given: Given = {}
  for (const [name, text] of Object.entries(environment)) {
    if (!name.startsWith(ENVIRONMENT_PREFIX) || text === undefined) continue
    const setting = settingOf.get(name)
    if (setting === undefined) faults.push(`${name}: there is no such setting`)
    else given[setting] = { text, source: name }
  }
  return given
}

function fromFlags (flags: string[], faults: string[]): Given {
  const open = SETTING_NAMES.filter((setting) => !isSecret(setting))
  const settingOf = new Map(open.map((setting) => [flagName(setting), setting]))
  const options = Object.fromEntries([...settingOf.keys()].map((flag) => [flag, { type: 'string' as const }]))
  const { tokens } = parseArgs({ args: flags, options, strict: false, tokens: true, allowPositionals: true })
  const given: Given = {}
  // What stands behind a wrong flag is its value, perhaps a secret: it is not shown.
  let isBehindWrongFlag = false
  for (const token of tokens) {
    if (token.kind === 'positional' && !isBehindWrongFlag) faults.push(`"${token.value}": there is no such argument`)
    if (token.kind !== 'option') continue
    const { name, rawName, value, inlineValue } = token
    const setting = settingOf.get(name)
    const isMissing = value === undefined || (inlineValue === false && value.startsWith('--'))
    isBehindWrongFlag = setting === undefined || isMissing
    if (setting === undefined) faults.push(`${rawName}: there is no such flag`)
    else if (isMissing) faults.push(`${rawName}: a value is missing`)
    else if (hasPassword(value)) {
      faults.push(`${rawName}: an address with a password belongs into ${environmentName(setting)}`)
    } else given[setting] = { text: value, source: rawName }
  }
  return given
}

/** True for an address that other users of the machine must not read. */
function hasPassword (text: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*:[^/?#]*@|[^#]*[?&]password=)/i.test(text)
}

/** Text as the schema's type; what does not look like it stays text, for the validator to refuse. */
function coerce (setting: string, text: string): unknown {
  const schema = settingsShape[setting as keyof typeof settingsShape] as { type?: string }
  if (schema.type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text
  if (schema.type !== 'number' && schema.type !== 'integer') return text
  if (schema.type === 'number' && text === INFINITE) return Infinity
  return /^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) && Number.isFinite(Number(text)) ? Number(text) : text
}

function detail (params: Record<string, unknown>): string {
  return params.limit === undefined || params.comparison !== undefined ? '' : `(${String(params.limit)})`
}

function logLevels (): string[] {
  return (settingsShape.logLevel as unknown as { anyOf: Array<{ const: string }> }).anyOf.map((level) => level.const)
}
