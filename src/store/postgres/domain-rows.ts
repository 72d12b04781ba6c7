/** Rows of domains and versions <-> pointers. */
import { deepEqual } from 'node:assert'
import { createHash } from 'node:crypto'
import { Type } from '#typebox'
import { BankswitchError } from '../../base/errors.js'
import { checkOf } from '../../base/json-schema.js'
import { storeErrors } from '../errors.js'
import { contradictionOf, pointerShape } from '../pointer-shape.js'
import { requireKnown, SCHEMA } from './migrations.js'
import type { GateRecord, LastNumbers, Pointer, VersionRecord } from '../bank-store.js'
import type { Found, Held } from './held-domains.js'
import type { Statements } from './database.js'

/** Of a version or a gate: PostgreSQL takes no value of a gigabyte. */
export const FILE_BYTES_MAX = 2 ** 29

/** Changes that a domain remembers, to know whether one whose commit was cut off has happened. */
const CHANGES_KEPT = 32

/** Of a file that is read, at once. */
const PART_BYTES = 2 ** 22

/** Rows read at once, so that nothing else waits long for this thread. */
const PAGE_ROWS = 200

/** A pointer but for its versions, which are rows of their own. */
type Head = Omit<Pointer, 'versions'>

interface DomainRow {
  model: string
  domain: string
  changed: string
  revision: string
  last_version: string
  pointer: Head | null
}

interface VersionRow {
  model: string
  domain: string
  version: string
  /** Absent where the version has not changed since. */
  record: VersionRecord | null
}

/** What a change makes of a domain's row: without a pointer it is removed. */
export interface NextRow {
  pointer?: Pointer
  numbers: LastNumbers
}

/** What a domain that is there or was has in the database. */
export interface StoredDomain extends Held {
  readonly model: string
  readonly domain: string
  readonly numbers: LastNumbers
}

const isPointer = checkOf<Pointer>(Type.Object(pointerShape, { additionalProperties: false }), { allErrors: true })

/** Names a domain among advisory locks; two that share a number only wait for each other. */
export function lockOf (model: string, domain: string): bigint {
  return createHash('sha256').update(`bankswitch/${model}/${domain}`).digest().readBigInt64BE()
}

/**
 * Domains that changed after `since`, in pages; `held` gives the versions that did not. Throws DatabaseAway; what cannot
 * be used is found as the reason why.
 */
export async function * readChanged (
  statements: Statements, since: number, held: (model: string, domain: string) => Held | undefined
): AsyncGenerator<StoredDomain[]> {
  let [model, domain] = ['', '']
  for (;;) {
    const rows = await statements.rows<DomainRow>(
      `SELECT model, domain, changed, revision, last_version, pointer FROM bankswitch_domains
       WHERE changed > $1 AND (model, domain) > ($2, $3) ORDER BY model, domain LIMIT ${PAGE_ROWS}`,
      [since, model, domain]
    )
    if (rows.length > 0) yield await withVersions(statements, rows, since, held)
    const last = rows.at(-1)
    if (last === undefined || rows.length < PAGE_ROWS) return
    ;({ model, domain } = last)
  }
}

/** One domain; undefined for a name that never had one. `held` is used where it is as new. Throws DatabaseAway. */
export async function readDomain (
  statements: Statements, model: string, domain: string, held: Held | undefined
): Promise<StoredDomain | undefined> {
  const [row] = await statements.rows<DomainRow>(
    `SELECT model, domain, changed, revision, last_version, pointer FROM bankswitch_domains
     WHERE model = $1 AND domain = $2`,
    [model, domain]
  )
  if (row === undefined) return undefined
  if (held !== undefined && held.changed === Number(row.changed)) return stored(row, held.found)
  const [read] = await withVersions(statements, [row], -1, () => undefined)
  return read
}

async function withVersions (
  statements: Statements, rows: readonly DomainRow[], since: number,
  held: (model: string, domain: string) => Held | undefined
): Promise<StoredDomain[]> {
  const versions = await statements.rows<VersionRow>(
    `SELECT model, domain, version, CASE WHEN changed > $3 THEN record END AS record
     FROM bankswitch_versions JOIN unnest($1::text[], $2::text[]) AS wanted (model, domain) USING (model, domain)
     ORDER BY version`,
    [rows.map(({ model }) => model), rows.map(({ domain }) => domain), since]
  )
  const listed = new Map<string, VersionRow[]>()
  for (const row of versions) {
    const key = `${row.model}/${row.domain}`
    const known = listed.get(key)
    if (known === undefined) listed.set(key, [row])
    else known.push(row)
  }
  return rows.map((row) => {
    const before = held(row.model, row.domain)?.found
    return stored(row, foundIn(row, listed.get(`${row.model}/${row.domain}`) ?? [], before))
  })
}

function stored ({ model, domain, changed, revision, last_version: lastVersion }: DomainRow, found: Found): StoredDomain {
  const numbers = { revision: Number(revision), lastVersion: Number(lastVersion) }
  return { model, domain, changed: Number(changed), found, numbers }
}

function foundIn ({ domain, pointer: head }: DomainRow, rows: readonly VersionRow[], before: Found): Found {
  if (head === null) return undefined
  const known = before === undefined || before instanceof Error
    ? new Map<number, VersionRecord>()
    : new Map(before.versions.map((record) => [record.version, record]))
  const versions = rows.flatMap(({ version, record }) => record ?? known.get(Number(version)) ?? [])
  const pointer: Pointer = { ...head, versions }
  try {
    requirePointer(pointer, domain)
    return versions.length === rows.length ? pointer : lacking(domain)
  } catch (error) {
    if (error instanceof BankswitchError) return error
    throw error
  }
}

function lacking (domain: string): BankswitchError {
  return storeErrors.STORE_CORRUPT(`the rows of domain "${domain}" do not belong together`, { domain })
}

/** Throws STORE_FORMAT_UNKNOWN for fields of a newer server, and STORE_CORRUPT. */
function requirePointer (pointer: Pointer, domain: string): void {
  const what = `the row of domain "${domain}"`
  if (!isPointer(pointer)) {
    const further = isPointer.errors.filter(({ keyword, instancePath }) => {
      return keyword === 'additionalProperties' && instancePath !== '/labels'
    })
    const wrong = isPointer.errors.find((error) => !further.includes(error))
    if (wrong !== undefined) {
      throw storeErrors.STORE_CORRUPT(`${what} is unusable: ${wrong.instancePath} ${wrong.message}`, { domain })
    }
    const names = further.map(({ params }) => String(params.additionalProperty)).slice(0, 20)
    throw storeErrors.STORE_FORMAT_UNKNOWN(
      `${what} has fields that this server does not know: ${names.join(', ')}; a newer one wrote it`,
      { domain, received: names }
    )
  }
  const contradiction = contradictionOf(pointer, domain)
  if (contradiction !== undefined) throw storeErrors.STORE_CORRUPT(`${what} is unusable: ${contradiction}`, { domain })
}

/** Throws STORE_LIMIT. */
export async function insertVersion (
  statements: Statements, model: string, domain: string, record: VersionRecord, file: Uint8Array
): Promise<void> {
  requireSize(file)
  await statements.rows(
    `INSERT INTO bankswitch_versions (model, domain, version, changed, record, file) VALUES ($1, $2, $3, 0, $4, $5)`,
    [model, domain, record.version, jsonOf(record), bytesOf(file)]
  )
}

/** The gate's file, or none, of a domain that may be only about to come. Throws STORE_LIMIT. */
export async function putGate (
  statements: Statements, model: string, domain: string, file: Uint8Array | undefined
): Promise<void> {
  if (file !== undefined) requireSize(file)
  await statements.rows(
    `INSERT INTO bankswitch_domains (model, domain, changed, revision, last_version, gate, changes)
     VALUES ($1, $2, 0, 0, 0, $3, '{}') ON CONFLICT (model, domain) DO UPDATE SET gate = excluded.gate`,
    [model, domain, file === undefined ? null : bytesOf(file)]
  )
}

/** A list of numbers, or undefined for all. */
export async function deleteVersions (
  statements: Statements, model: string, domain: string, versions?: readonly number[]
): Promise<void> {
  await statements.rows(
    'DELETE FROM bankswitch_versions WHERE model = $1 AND domain = $2 AND ($3::bigint[] IS NULL OR version = ANY ($3))',
    [model, domain, versions ?? null]
  )
}

/**
 * The last step of a change: takes the next revision of the store, which nobody else can until this is committed, and
 * writes it to the domain and to its new versions. So whoever sees a revision sees all before it.
 * Resolves with the revision. Throws STORE_CHANGED when the domain is not as it was `before`, and STORE_FORMAT_UNKNOWN
 * when a newer server has changed the tables meanwhile.
 */
export async function putDomain (
  statements: Statements, model: string, domain: string, { pointer, numbers }: NextRow, before: Held | undefined,
  change: string
): Promise<number> {
  const [row] = await statements.rows<{ changed: string }>(
    `WITH raised AS (
       UPDATE bankswitch_store SET revision = revision + 1 WHERE schema = $1 RETURNING revision
     ), added AS (
       UPDATE bankswitch_versions SET changed = raised.revision FROM raised
       WHERE model = $2 AND domain = $3 AND changed = 0
     )
     INSERT INTO bankswitch_domains AS held (model, domain, changed, revision, last_version, pointer, changes)
     SELECT $2, $3, raised.revision, $4, $5, $6::json, ARRAY[$7::uuid] FROM raised
     ON CONFLICT (model, domain) DO UPDATE SET
       changed = excluded.changed, revision = excluded.revision, last_version = excluded.last_version,
       pointer = excluded.pointer,
       changes = (held.changes || excluded.changes)[greatest(1, cardinality(held.changes) + 2 - ${CHANGES_KEPT}):]
     WHERE held.changed = $8
     RETURNING changed`,
    [
      SCHEMA, model, domain, numbers.revision, numbers.lastVersion, pointer === undefined ? null : headOf(pointer), change,
      before?.changed ?? 0
    ]
  )
  if (row !== undefined) return Number(row.changed)
  const [store] = await statements.rows<{ schema: number }>('SELECT schema FROM bankswitch_store')
  requireKnown(store!.schema)
  throw storeErrors.STORE_CHANGED(`domain "${domain}" was changed by another process; try again`, {})
}

/** The same for many at once: `raise` completes them. Whoever else changes domains is locked out meanwhile. */
export async function putUnraised (
  statements: Statements, model: string, domain: string, { pointer, numbers }: NextRow
): Promise<void> {
  await statements.rows(
    `INSERT INTO bankswitch_domains AS held (model, domain, changed, revision, last_version, pointer, changes)
     VALUES ($1, $2, 0, $3, $4, $5::json, '{}')
     ON CONFLICT (model, domain) DO UPDATE SET
       changed = 0, revision = excluded.revision, last_version = excluded.last_version, pointer = excluded.pointer`,
    [model, domain, numbers.revision, numbers.lastVersion, pointer === undefined ? null : headOf(pointer)]
  )
}

/** Gives what was put unraised the next revision of the store. Throws STORE_FORMAT_UNKNOWN. */
export async function raise (statements: Statements): Promise<void> {
  const [row] = await statements.rows<{ schema: number }>(
    `WITH raised AS (
       UPDATE bankswitch_store SET revision = revision + 1 RETURNING revision, schema
     ), domains AS (
       UPDATE bankswitch_domains SET changed = raised.revision FROM raised WHERE changed = 0
     ), versions AS (
       UPDATE bankswitch_versions SET changed = raised.revision FROM raised WHERE changed = 0
     )
     SELECT schema FROM raised`
  )
  requireKnown(row!.schema)
}

/** Whether a change happened, asked under the domain's lock: with it, whoever was still at it is done. */
export async function hasHappened (
  statements: Statements, model: string, domain: string, change: string
): Promise<boolean> {
  const rows = await statements.rows(
    'SELECT 1 AS found FROM bankswitch_domains WHERE model = $1 AND domain = $2 AND $3::uuid = ANY (changes)',
    [model, domain, change]
  )
  return rows.length > 0
}

/** Of a version, `bytes` long; undefined where there is no such row. */
export async function readFile (
  statements: Statements, model: string, domain: string, version: number, bytes: number
): Promise<Uint8Array | undefined> {
  return await inParts(bytes, async (first, length) => {
    const [row] = await statements.rows<{ part: Buffer }>(
      `SELECT substring(file FROM $4 FOR $5) AS part FROM bankswitch_versions
       WHERE model = $1 AND domain = $2 AND version = $3`,
      [model, domain, version, first, length]
    )
    return row?.part
  })
}

/** `bytes` long; undefined where there is none. */
export async function readGateFile (
  statements: Statements, model: string, domain: string, bytes: number
): Promise<Uint8Array | undefined> {
  return await inParts(bytes, async (first, length) => {
    const [row] = await statements.rows<{ part: Buffer | null }>(
      'SELECT substring(gate FROM $3 FOR $4) AS part FROM bankswitch_domains WHERE model = $1 AND domain = $2',
      [model, domain, first, length]
    )
    return row?.part ?? undefined
  })
}

/** Bytes come as text, which must not get longer than a string can be, nor hold up this thread. */
async function inParts (
  bytes: number, read: (first: number, length: number) => Promise<Uint8Array | undefined>
): Promise<Uint8Array | undefined> {
  const parts: Uint8Array[] = []
  for (let first = 0; first === 0 || first < bytes; first += PART_BYTES) {
    // A byte more than there should be shows.
    const part = await read(first + 1, Math.min(PART_BYTES, bytes - first + 1))
    if (part === undefined) return undefined
    parts.push(part)
  }
  return parts.length === 1 ? parts[0] : Buffer.concat(parts)
}

/** Refuses, before anything is written, what could not be read again: a number that JSON cannot hold, another form. */
export function requireReadable (pointer: Pointer, added: readonly VersionRecord[]): void {
  const shown = { ...pointer, versions: added }
  const read = JSON.parse(JSON.stringify(shown)) as Pointer
  // Not strictly: JSON has no -0.
  deepEqual(read, shown)
  if (isPointer(read)) return
  const [wrong] = isPointer.errors
  throw storeErrors.STORE_CORRUPT(`the pointer of domain "${pointer.domain}" is unusable: ${wrong?.instancePath} ${wrong?.message}`, {
    domain: pointer.domain
  })
}

function headOf ({ versions: _versions, ...head }: Pointer): string {
  return jsonOf(head)
}

function jsonOf (value: VersionRecord | GateRecord | Head): string {
  return JSON.stringify(value)
}

function bytesOf (file: Uint8Array): Buffer {
  return Buffer.from(file.buffer, file.byteOffset, file.byteLength)
}

function requireSize ({ length }: Uint8Array): void {
  if (length <= FILE_BYTES_MAX) return
  throw storeErrors.STORE_LIMIT('the file is too large for the database', { expected: FILE_BYTES_MAX, received: length })
}
