/** `bankswitch keys`: the file of keys, which a running server reads again when it changes. */
import { resolve } from 'node:path'
import { SCOPES, type Scope } from '../access/caller.js'
import { accessErrors } from '../access/errors.js'
import { changeKeyFile, readKeyFile } from '../access/key-file.js'
import { hashOf, makeKey } from '../access/key-text.js'
import { configErrors, loadSettings } from '../config/load.js'
import { parseCommandLine, type CommandOptions } from './command-line.js'
import { textTable } from './table.js'
import type { KeyRecord } from '../access/key-record.js'

const KEYS_HELP = `bankswitch keys add --scope S [--scope S]… [--label TEXT] [--model M]… [--expires WHEN]
bankswitch keys list [--json]
bankswitch keys revoke ID

The keys of a server, in the file that BANKSWITCH_KEYS_FILE names. A running server follows within about a second.
add prints the key, on standard output and only this once: the file holds its hash.

  --scope     infer: inference and lists of models, where they need a key; read: GET of the admin API, metrics;
              admin: all of the admin API, and what read may. May be given several times
  --model     only for this model; may be given several times. Without it the key holds for all models
  --expires   90d, 12h, or a time such as 2027-01-31T00:00:00Z. Without it the key does not expire
  --label     whom it is for
`

const MS_OF_UNIT: Readonly<Record<string, number>> = { h: 3_600_000, d: 86_400_000 }

/** Throws CONFIG_INVALID, KEYS_INVALID and KEY_NOT_FOUND. */
async function keys (argv: string[]): Promise<number> {
  const [verb = '', ...rest] = argv
  const path = resolve(loadSettings(process.env, []).keysFile)
  if (verb === 'add') return await add(path, rest)
  if (verb === 'list') return await list(path, rest)
  if (verb === 'revoke') return await revoke(path, rest)
  throw wrong('add, list or revoke is needed')
}

function wrong (why: string): Error {
  return configErrors.CONFIG_INVALID(`${why}\n\n${KEYS_HELP}`)
}

function parseFlags<const Given extends CommandOptions> (args: string[], options: Given) {
  const { values, positionals: [stray] } = parseCommandLine(args, KEYS_HELP, options)
  if (stray !== undefined) throw wrong(`'${stray}' is no option`)
  return values
}

async function add (path: string, args: string[]): Promise<number> {
  const values = parseFlags(args, {
    scope: { type: 'string', multiple: true, default: [] },
    model: { type: 'string', multiple: true, default: [] },
    label: { type: 'string', default: '' },
    expires: { type: 'string' }
  })
  const scopes = [...new Set(values.scope)]
  const unknown = scopes.find((scope) => !SCOPES.includes(scope as Scope))
  if (scopes.length === 0 || unknown !== undefined) {
    throw wrong(`--scope is one of ${SCOPES.join(', ')}${unknown === undefined ? '' : `, not "${unknown}"`}`)
  }
  const { id, text } = makeKey()
  const now = Date.now()
  const record: KeyRecord = {
    id,
    label: values.label,
    hash: hashOf(text).toString('hex'),
    scopes: scopes as Scope[],
    ...(values.model.length === 0 ? {} : { models: [...new Set(values.model)] }),
    createdAt: new Date(now).toISOString(),
    ...(values.expires === undefined ? {} : { expiresAt: instantOf(values.expires, now) })
  }
  await changeKeyFile(path, (known) => [...known, record])
  process.stdout.write(`${text}\n`)
  process.stderr.write(`added ${id} to ${path}; its key is not shown again\n`)
  return 0
}

/** An ISO time that lies ahead, of a span or a time. */
function instantOf (text: string, now: number): string {
  const [, count, unit = ''] = /^(\d{1,6})([hd])$/.exec(text) ?? []
  const isTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?Z$/.test(text)
  const ms = count === undefined ? isTime ? Date.parse(text) : NaN : now + Number(count) * MS_OF_UNIT[unit]!
  if (Number.isNaN(ms)) throw wrong(`--expires is 90d, 12h or a time such as 2027-01-31T00:00:00Z, not "${text}"`)
  if (ms <= now) throw wrong(`--expires "${text}" has passed`)
  return new Date(ms).toISOString()
}

async function list (path: string, args: string[]): Promise<number> {
  const values = parseFlags(args, { json: { type: 'boolean', default: false } })
  const now = Date.now()
  const shown = (await readKeyFile(path) ?? []).map(({ hash: _hash, ...record }) => ({
    ...record, expired: record.expiresAt !== undefined && Date.parse(record.expiresAt) <= now
  }))
  if (values.json) {
    process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`)
    return 0
  }
  process.stdout.write(`${textTable(['id', 'scopes', 'models', 'expires', 'created', 'label'], shown.map((key) => [
    key.id,
    key.scopes.join(','),
    key.models?.join(',') ?? 'all',
    key.expired ? 'expired' : key.expiresAt ?? 'never',
    key.createdAt,
    // A label comes from whoever could write the file: no control characters reach the terminal.
    JSON.stringify(key.label)
  ]))}\n`)
  return 0
}

async function revoke (path: string, args: string[]): Promise<number> {
  const { positionals } = parseCommandLine(args, KEYS_HELP, {})
  const [id] = positionals
  if (id === undefined || positionals.length > 1) throw wrong('one id is needed')
  await changeKeyFile(path, (known) => {
    if (!known.some((record) => record.id === id)) {
      throw accessErrors.KEY_NOT_FOUND(`${path} has no key "${id}"`, { received: id })
    }
    return known.filter((record) => record.id !== id)
  })
  process.stderr.write(`revoked ${id}\n`)
  return 0
}

export const command = { help: KEYS_HELP, run: keys }
