/** Rows of domains and versions -> pointers, and their files. */
import { Type } from '#typebox'
import { BankswitchError } from '../../base/errors.js'
import { checkOf } from '../../base/json-schema.js'
import { storeErrors } from '../errors.js'
import { contradictionOf, pointerShape } from '../pointer-shape.js'
import type { LastNumbers, Pointer, ShippedMemory, VersionRecord } from '../bank-store.js'
import type { Found } from '../held-changes.js'
import type { Held } from './held-domains.js'
import type { Statements } from './database.js'

/** Of a file that is read, at once. */
const PART_BYTES = 2 ** 22

/** Rows read at once, so that nothing else waits long for this thread. */
const PAGE_ROWS = 200

/** A pointer but for its versions, which are rows of their own. */
export type Head = Omit<Pointer, 'versions'>

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

/** What a domain that is there or was has in the database. */
export interface StoredDomain extends Held {
  readonly model: string
  readonly domain: string
  readonly numbers: LastNumbers
}

/** Whether it has the form of a pointer. */
export const isPointer = checkOf<Pointer>(
  Type.Object(pointerShape, { additionalProperties: false }), { allErrors: true }
)

/**
 * Domains that changed after `since`, in pages; `held` gives the versions that did not. Throws DatabaseAway; what
 * cannot be used is found as the reason why.
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

/** The numbers of a domain, and whether it is there; undefined for a name that never had one. Throws DatabaseAway. */
export async function readNumbers (
  statements: Statements, model: string, domain: string
): Promise<{ numbers: LastNumbers, isThere: boolean } | undefined> {
  const [row] = await statements.rows<Pick<DomainRow, 'revision' | 'last_version'> & { is_there: boolean }>(
    `SELECT revision, last_version, pointer IS NOT NULL AS is_there FROM bankswitch_domains
     WHERE model = $1 AND domain = $2`,
    [model, domain]
  )
  return row === undefined ? undefined : { numbers: numbersOf(row), isThere: row.is_there }
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

function stored ({ model, domain, ...row }: DomainRow, found: Found): StoredDomain {
  return { model, domain, changed: Number(row.changed), found, numbers: numbersOf(row) }
}

function numbersOf (row: Pick<DomainRow, 'revision' | 'last_version'>): LastNumbers {
  return { revision: Number(row.revision), lastVersion: Number(row.last_version) }
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

/** Undefined where nothing is remembered. */
export async function readShipped (
  statements: Statements, model: string, domain: string
): Promise<ShippedMemory | undefined> {
  const [row] = await statements.rows<{ memory: ShippedMemory }>(
    'SELECT memory FROM bankswitch_shipped WHERE model = $1 AND domain = $2', [model, domain]
  )
  return row?.memory
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
