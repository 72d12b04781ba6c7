/**
 * What the service asks of a place where banks live: durable, versioned, small enough for a database to offer.
 *
 * A version is an immutable file with a number that is never used again, nor is a revision: they outlive the domain, so
 * that what was told of one that was removed is never true of another. A domain points at its active version. Reads
 * of records are from memory and never wait; every change is durable when its promise resolves.
 */

/**
 * How a version came to be: `model` for what stood in the ONNX file itself, `calibration`, `blend`, or the name of the
 * format in which the bank came. Of no meaning to the store, and open, so that a newer server's does not stop an older
 * one.
 */
export type VersionSource = string

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

/** A version that gets a share of a domain's requests. */
export interface Candidate {
  readonly version: number
  /** 0 to 100. */
  readonly percent: number
}

/** The golden inputs of a domain and what must come out of them; of no meaning to the store. */
export interface GateRecord {
  /** SHA-256 of the stored file. */
  readonly sha256: string
  readonly bytes: number
  readonly rows: number
  /** How far an output may be from what is expected: absolute + relative * |expected|. */
  readonly absolute: number
  readonly relative: number
  /** ISO 8601, UTC. */
  readonly createdAt: string
}

export type NewGate = Omit<GateRecord, 'sha256' | 'bytes' | 'createdAt'> & { readonly file: Uint8Array }

/** The gate that a version has passed, by its digest; null when there was none; undefined to leave it unchecked. */
export type PassedGate = string | null | undefined

/** What points to a version besides `active`; without a version or candidate it is taken away. */
export type Mark =
  | { readonly kind: 'label', readonly label: string, readonly version?: number }
  | { readonly kind: 'canary' | 'shadow', readonly candidate?: Candidate }

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
  /** Label -> version, in alphabetical order; absent for none. */
  readonly labels?: Readonly<Record<string, number>>
  /** Answers its share of the requests that pin no version. */
  readonly canary?: Candidate
  /** Runs its share of the active version's requests once more, unseen. */
  readonly shadow?: Candidate
  readonly gate?: GateRecord
}

/** The highest numbers that a domain has given out; those of removed versions and domains do not come back. */
export interface LastNumbers {
  readonly lastVersion: number
  readonly revision: number
}

/** All that a store knows of a domain besides the bytes: what every change makes a new one of. */
export interface Pointer extends DomainRecord, LastNumbers {}

export interface NewVersion {
  readonly file: Uint8Array
  readonly digest: string
  readonly fingerprint: string
  readonly source: VersionSource
  readonly preprocessing?: VersionPreprocessing
  readonly description?: string
  /** Of a version that was made before it came here; now, when it is absent. */
  readonly createdAt?: string
  readonly isActivated: boolean
  readonly passed?: PassedGate
}

/** What a change expects: a revision; 0 for "must not exist yet", * for "must exist"; undefined for anything. */
export type ExpectedRevision = number | '*' | undefined

/** A domain with everything in it, for another store to take over as it is. */
export interface WholeDomain {
  readonly pointer: Pointer
  readVersion (version: number): Promise<Uint8Array>
  /** Asked for only where the pointer has a gate; undefined for one that is lost, which is then lost there too. */
  readGate (): Promise<Uint8Array | undefined>
}

/** What a store remembers of the banks that a domain was shipped with; it outlives the domain. */
export interface ShippedMemory {
  /** SHA-256 of every shipped file that was seen. */
  readonly files: readonly string[]
  /** Of the domain after the last of them came into the store: while it is the same, nobody changed the domain. */
  readonly revision: number
}

/** What is in a store no more. */
export interface Gone {
  readonly model: string
  readonly domain: string
  /** Versions that the domain had. */
  readonly versions: readonly VersionRecord[]
  /** Whether the domain is gone with them. */
  readonly isWhole: boolean
}

export interface BankStore {
  /** Milliseconds since the records were those of the place for certain; 0 where no other process can change it. */
  readonly ageMs: number
  /**
   * Where other processes may change the place too: resolves when the records are as new as the call, or cannot be.
   * Calls at the same time share a look. Never rejects.
   */
  catchUp (): Promise<void>
  /**
   * `listener`, which must not throw, is told of what is gone, whichever process removed it, once records are without
   * it.
   */
  onGone (listener: (gone: Gone) => void): void
  /**
   * In the order of their names, without those that cannot be served because a newer server wrote them. It is the same
   * list until something of the model changes, and another one then.
   */
  domains (model: string): readonly DomainRecord[]
  /** Undefined when the model has no such domain. Throws, like all that follow, STORE_FORMAT_UNKNOWN. */
  domain (model: string, domain: string): DomainRecord | undefined
  /** The file of a version, verified against its digest. Throws VERSION_NOT_FOUND, STORE_CORRUPT, STORE_UNREADABLE. */
  read (model: string, domain: string, version: number): Promise<Uint8Array>
  /** Adds a version, and the domain with its first. Throws PRECONDITION_FAILED, STORE_CHANGED, STORE_UNWRITABLE. */
  publish (model: string, domain: string, version: NewVersion, expected?: ExpectedRevision): Promise<DomainRecord>
  /**
   * Throws DOMAIN_NOT_FOUND, VERSION_NOT_FOUND and what `publish` throws, among it STORE_CHANGED when the domain has
   * another gate than `passed`; the same for the following.
   */
  activate (
    model: string, domain: string, version: number, expected?: ExpectedRevision, passed?: PassedGate
  ): Promise<DomainRecord>
  /** Leaves the domain with its versions, none of them active; a rollback returns to the one that was. */
  deactivate (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord>
  /** Returns to the version that was active before. Throws ROLLBACK_IMPOSSIBLE when there is none left. */
  rollBack (
    model: string, domain: string, expected?: ExpectedRevision, passed?: PassedGate
  ): Promise<DomainRecord>
  /** Sets or takes away a label, the canary or the shadow. Throws LABEL_NOT_FOUND and STORE_LIMIT. */
  mark (
    model: string, domain: string, mark: Mark, expected?: ExpectedRevision, passed?: PassedGate
  ): Promise<DomainRecord>
  /** Puts a gate in the place of the one before. */
  setGate (model: string, domain: string, gate: NewGate, expected?: ExpectedRevision): Promise<DomainRecord>
  /** The gate's file, verified against its digest. Throws GATE_NOT_FOUND or STORE_CORRUPT. */
  readGate (model: string, domain: string): Promise<Uint8Array>
  /** Throws GATE_NOT_FOUND. */
  removeGate (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord>
  /** Throws VERSION_ACTIVE for the active one, VERSION_MARKED for one with a label, the canary and the shadow. */
  removeVersion (model: string, domain: string, version: number, expected?: ExpectedRevision): Promise<DomainRecord>
  removeDomain (model: string, domain: string, expected?: ExpectedRevision): Promise<void>
  /**
   * Takes over a domain with its numbers, marks, gate and revision, whole or not at all; with later ones where a domain
   * of that name was removed. Throws DOMAIN_EXISTS,
   * STORE_CORRUPT for a file that is not what its pointer says, and what reading it throws.
   */
  adopt (model: string, whole: WholeDomain): Promise<DomainRecord>
  /** Undefined when no shipped bank of that domain was seen. Throws STORE_CORRUPT, STORE_FORMAT_UNKNOWN. */
  shipped (model: string, domain: string): Promise<ShippedMemory | undefined>
  rememberShipped (model: string, domain: string, memory: ShippedMemory): Promise<void>
}
