/**
 * What the service asks of a place where banks live: durable, versioned, small enough for a database to offer.
 *
 * A version is an immutable file with a number that is never used again. A domain points at its active version. Reads
 * of records are from memory and never wait; every change is durable when its promise resolves.
 */

/** How a version came to be; `model` is what stood in the ONNX file itself. */
export const VERSION_SOURCES = ['model', 'json', 'safetensors', 'calibration'] as const
export type VersionSource = typeof VERSION_SOURCES[number]

/** Plain JSON. */
export type VersionPreprocessing = Readonly<{
  size?: { width: number, height: number }
  [rule: string]: unknown
}>

export interface VersionRecord {
  readonly version: number
  /** SHA-256 of the stored file. */
  readonly sha256: string
  readonly bytes: number
  /** Content hash of the bank in it: equal for equal statistics, whatever the file. */
  readonly digest: string
  /** Of the model that the bank belongs to. */
  readonly fingerprint: string
  readonly source: VersionSource
  /** How pictures for this bank are prepared, where it differs from the model's rules; of no meaning to the store. */
  readonly preprocessing?: VersionPreprocessing
  /** ISO 8601, UTC. */
  readonly createdAt: string
}

export interface DomainRecord {
  readonly domain: string
  readonly description?: string
  /** Grows by one with every change; the ETag of the domain. */
  readonly revision: number
  readonly active: number | null
  /** Versions that were active before, oldest first: what a rollback returns to. */
  readonly previous: readonly number[]
  /** In ascending order. */
  readonly versions: readonly VersionRecord[]
}

export interface NewVersion {
  readonly file: Uint8Array
  readonly digest: string
  readonly fingerprint: string
  readonly source: VersionSource
  readonly preprocessing?: VersionPreprocessing
  readonly description?: string
  readonly isActivated: boolean
}

/** The revision that a change expects to find: a number, 0 for "must not exist yet", undefined for any. */
export type ExpectedRevision = number | undefined

export interface BankStore {
  domains (model: string): DomainRecord[]
  /** Undefined when the model has no such domain. */
  domain (model: string, domain: string): DomainRecord | undefined
  /** The file of a version, verified against its digest. Throws VERSION_NOT_FOUND, STORE_CORRUPT, STORE_UNREADABLE. */
  read (model: string, domain: string, version: number): Promise<Uint8Array>
  /** Adds a version, and the domain with its first. Throws PRECONDITION_FAILED, STORE_CHANGED, STORE_UNWRITABLE. */
  publish (model: string, domain: string, version: NewVersion, expected?: ExpectedRevision): Promise<DomainRecord>
  /** Throws DOMAIN_NOT_FOUND, VERSION_NOT_FOUND and what `publish` throws; the same for the following. */
  activate (model: string, domain: string, version: number, expected?: ExpectedRevision): Promise<DomainRecord>
  /** Leaves the domain with its versions, none of them active; a rollback returns to the one that was. */
  deactivate (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord>
  /** Returns to the version that was active before. Throws ROLLBACK_IMPOSSIBLE when there is none left. */
  rollBack (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord>
  /** Throws VERSION_ACTIVE for the active one. */
  removeVersion (model: string, domain: string, version: number, expected?: ExpectedRevision): Promise<DomainRecord>
  removeDomain (model: string, domain: string, expected?: ExpectedRevision): Promise<void>
}
