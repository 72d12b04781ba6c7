/** Changes of domains -> rows. */
import { deepEqual } from 'node:assert'
import { createHash } from 'node:crypto'
import { storeErrors } from '../errors.js'
import { isPointer, type Head } from './domain-rows.js'
import { requireKnown, SCHEMA } from './migrations.js'
import type { LastNumbers, Pointer, ShippedMemory, VersionRecord } from '../bank-store.js'
import type { Held } from './held-domains.js'
import type { Statements } from './database.js'

/** Of a version or a gate: PostgreSQL takes no value of a gigabyte. */
const FILE_BYTES_MAX = 2 ** 29

/** Changes that a domain remembers, to know whether one whose commit was cut off has happened. */
const CHANGES_KEPT = 32

/** What a change makes of a domain's row: without a pointer it is removed. */
export interface NextRow {
  pointer?: Pointer
  numbers: LastNumbers
}

/** Names a domain among advisory locks; two that share a number only wait for each other. */
export function lockOf (model: string, domain: string): bigint {
  return createHash('sha256').update(`bankswitch/${model}/${domain}`).digest().readBigInt64BE()
}

/** Throws STORE_LIMIT. */
export async function insertVersion (
  statements: Statements, model: string, domain: string, record: VersionRecord, file: Uint8Array
): Promise<void> {
  requireSize(file)
  await statements.rows(
    'INSERT INTO bankswitch_versions (model, domain, version, changed, record, file) VALUES ($1, $2, $3, 0, $4, $5)',
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
      SCHEMA, model, domain, numbers.revision, numbers.lastVersion, pointer === undefined ? null : headOf(pointer),
      change, before?.changed ?? 0
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

/** Refuses, before anything is written, what could not be read again: a number that JSON cannot hold, another form. */
export function requireReadable (pointer: Pointer, added: readonly VersionRecord[]): void {
  const shown = { ...pointer, versions: added }
  const read = JSON.parse(JSON.stringify(shown)) as Pointer
  // Not strictly: JSON has no -0.
  deepEqual(read, shown)
  if (isPointer(read)) return
  const [wrong] = isPointer.errors
  const { domain } = pointer
  const why = `the pointer of domain "${domain}" is unusable: ${wrong?.instancePath} ${wrong?.message}`
  throw storeErrors.STORE_CORRUPT(why, { domain })
}

function headOf ({ versions: _versions, ...head }: Pointer): string {
  return jsonOf(head)
}

function jsonOf (value: VersionRecord | Head): string {
  return JSON.stringify(value)
}

function bytesOf (file: Uint8Array): Buffer {
  return Buffer.from(file.buffer, file.byteOffset, file.byteLength)
}

export async function putShipped (
  statements: Statements, model: string, domain: string, { files, revision }: ShippedMemory
): Promise<void> {
  await statements.rows(
    `INSERT INTO bankswitch_shipped (model, domain, memory) VALUES ($1, $2, $3)
     ON CONFLICT (model, domain) DO UPDATE SET memory = excluded.memory`,
    [model, domain, JSON.stringify({ files, revision })]
  )
}

/** Throws STORE_LIMIT for a file that no row can hold. */
export function requireSize ({ length }: Pick<Uint8Array, 'length'>): void {
  if (length <= FILE_BYTES_MAX) return
  const sizes = { expected: FILE_BYTES_MAX, received: length }
  throw storeErrors.STORE_LIMIT('the file is too large for the database', sizes)
}
