/** What the store has of candidates: it outlives the process, and servers may share it. */
import { sha256 } from '../../base/digest.js'
import type { BankStore, DomainRecord } from '../../store/bank-store.js'
import type { Sender } from '../version-wish.js'

/** Candidates that one stream may have become, as long as the domains are there. */
export const STREAM_CANDIDATES_MAX = 8

const PREFIX = 'candidate-'

/** A candidate that nobody has decided about and whose stream is not followed here. */
export interface LeftCandidate {
  domain: string
  version: number
  description: string
  /** ISO 8601, UTC. */
  since: string
}

/** How a version of a model is found. */
export interface StoredVersion {
  readonly model: string
  readonly domain: string
  readonly version: number
}

export class StoredCandidates {
  readonly #store: Pick<BankStore, 'domain' | 'domains'>

  constructor (store: Pick<BankStore, 'domain' | 'domains'>) {
    this.#store = store
  }

  /** Undefined once the version is removed. */
  recordOf ({ model, domain, version }: StoredVersion): DomainRecord | undefined {
    const record = this.#store.domain(model, domain)
    return record?.versions.some((one) => one.version === version) === true ? record : undefined
  }

  /** Whether it is neither activated nor removed. */
  isUndecided (candidate: StoredVersion): boolean {
    return isUndecided(this.recordOf(candidate))
  }

  /** All that nobody has decided about. */
  undecided (model: string): DomainRecord[] {
    return this.#store.domains(model).filter((one) => one.domain.startsWith(PREFIX) && isUndecided(one))
  }

  /** The same, but for those that are told otherwise. */
  left (model: string, told: ReadonlyArray<Pick<StoredVersion, 'domain'>>): LeftCandidate[] {
    const known = new Set(told.map(({ domain }) => domain))
    return this.undecided(model).filter(({ domain }) => !known.has(domain)).map(({ domain, description, versions }) => {
      const { version, createdAt } = versions.at(-1)!
      return { domain, version, description: description ?? '', since: createdAt }
    })
  }

  /**
   * For the next candidate of a stream: undefined while nobody has decided about one of its candidates, and where there
   * are too many. Names are the same for the same stream of the same caller, and tell nobody who that is.
   */
  nameFor (model: string, { caller, stream }: Sender): string | undefined {
    const first = PREFIX + sha256(Buffer.from(JSON.stringify([caller, stream]))).slice(0, 12)
    const names = Array.from({ length: STREAM_CANDIDATES_MAX }, (_, at) => at === 0 ? first : `${first}-${at + 1}`)
    if (names.some((name) => isUndecided(this.#store.domain(model, name)))) return undefined
    return names.find((name) => this.#store.domain(model, name) === undefined)
  }
}

function isUndecided (record: DomainRecord | undefined): boolean {
  return record !== undefined && record.active === null && record.versions.length > 0
}
