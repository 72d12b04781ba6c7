/**
 * The signatures of a model's active versions, read once and put together for choosing. While the store's list of
 * domains is the same, so are they; another active version changes their key, and the next question reads what is new.
 */
import { LRUCache } from 'lru-cache'
import { BankswitchError } from '../../base/errors.js'
import { SlicedWork } from '../../base/slices.js'
import { parseSafetensors } from '../../bank/formats/safetensors.js'
import { termsOf } from '../../drift/bets.js'
import { preparationOf, sizePrepared, type PictureSize } from '../../models/signature-preparation.js'
import { entryOf, rulesOf } from '../../models/preprocessing.js'
import { takesPictures, type Manifest } from '../../models/manifest.js'
import { makeDiscriminant, type Discriminant } from '../../signature/discriminant.js'
import { parseSignatures } from '../../signature/file-parts.js'
import { servingErrors } from '../errors.js'
import type { Logger } from '../../observability/logger.js'
import type { Signature } from '../../signature/signature.js'
import type { BankStore, DomainRecord, VersionRecord } from '../../store/bank-store.js'
import type { ReadyModel } from '../model-states.js'

/** Domains among which pictures of one size are told apart. */
export interface SizeGroup {
  /** Absent for models whose pictures have no one size. */
  readonly size?: PictureSize
  /** Those that have a signature, and those that run pictures of this size, with the version that was active. */
  readonly domains: ReadonlyMap<string, number>
  /** Absent where no domain of this size has a signature, so that the size alone decides. */
  readonly discriminant?: Discriminant
}

export interface BookNeeds {
  store: Pick<BankStore, 'domains' | 'read'>
  logger: Pick<Logger, 'warn'>
}

/** Of signatures that are kept in memory: those of as many domains as can be chosen among, at 256 features each. */
const BYTES_MAX = 160 * 2 ** 20

/** A choice among more would take longer than small networks do. */
const DOMAINS_MAX = 256

export class SignatureBook {
  readonly #needs: BookNeeds
  readonly #fitMin: number
  readonly #read: LRUCache<string, Signature[]>
  readonly #groups = new Map<string, KnownGroups>()
  readonly #slices = new SlicedWork()

  /** A picture with a smaller p-value does not fit a domain. */
  constructor (needs: BookNeeds, fitMin: number) {
    this.#needs = needs
    this.#fitMin = fitMin
    this.#read = new LRUCache({
      maxSize: BYTES_MAX,
      sizeCalculation: (signatures) => 1 + signatures.reduce((sum, { mean, covariance, factor, scores }) => {
        return sum + mean.byteLength + covariance.byteLength + factor.byteLength + scores.byteLength
      }, 0)
    })
  }

  /**
   * By size, at least one of them with a discriminant. Rejects with SIGNATURE_MISSING or SIGNATURE_STALE, telling what
   * to type, AUTO_TOO_MANY_DOMAINS, AUTO_UNSUPPORTED, and what the store throws.
   */
  async groups (model: ReadyModel): Promise<SizeGroup[]> {
    const { artefact: { stem }, entry: { manifest: { name } } } = model
    if (stem === undefined) throw autoUnsupported(name)
    const records = this.#needs.store.domains(name)
    const known = this.#groups.get(name)
    if (known !== undefined && known.records === records && known.stem === stem.digest) return await known.groups
    const active = activeOf(records)
    if (active.length > DOMAINS_MAX) {
      throw servingErrors.AUTO_TOO_MANY_DOMAINS(`"${name}" has too many domains to choose among`, {
        expected: `at most ${DOMAINS_MAX}`, received: active.length
      })
    }
    // Another version with the same file is read again: that of the one before may have been broken.
    const key = active.map(({ record, version }) => `${record.domain}:${version.version}:${version.sha256}`).join()
    const isSame = known?.key === key && known.stem === stem.digest
    const groups = isSame ? known.groups : this.#together(model, stem.digest, active)
    this.#groups.set(name, { records, stem: stem.digest, key, groups })
    // What could not be read may be there the next time.
    groups.catch(() => { if (this.#groups.get(name)?.groups === groups) this.#groups.delete(name) })
    return await groups
  }

  async #together (
    { entry: { manifest } }: ReadyModel, stem: string, active: readonly ActiveVersion[]
  ): Promise<SizeGroup[]> {
    const bySize = new Map<string, Gathered>()
    const groupFor = (size: PictureSize | undefined, { record: { domain }, version: { version } }: ActiveVersion) => {
      const key = size === undefined ? '' : `${size.width}x${size.height}`
      let group = bySize.get(key)
      if (group === undefined) bySize.set(key, group = { size, domains: new Map(), signatures: new Map() })
      group.domains.set(domain, version)
      return group
    }
    const stale: string[] = []
    for (const one of active) {
      const { record, version } = one
      groupFor(ownSize(manifest, record, version), one)
      for (const signature of await this.#signatures(manifest, record, version)) {
        const size = sizeOf(manifest, signature)
        if (signature.origin.stem !== stem || size === undefined) {
          stale.push(record.domain)
          continue
        }
        groupFor(size === ANY_SIZE ? undefined : size, one).signatures.set(record.domain, signature)
        // Ahead of the streams, whose first pictures would wait for them.
        termsOf(signature.scores)
      }
    }
    if (stale.length > 0) {
      this.#needs.logger.warn({ model: manifest.name, domains: stale }, 'signatures made otherwise do not count')
    }
    const groups = await Promise.all([...bySize.values()].map(async ({ size, domains, signatures }) => ({
      ...(size === undefined ? {} : { size }),
      domains,
      ...(signatures.size === 0 ? {} : { discriminant: await this.#discriminant(manifest, signatures) })
    })))
    if (groups.some(({ discriminant }) => discriminant !== undefined)) return groups
    throw nothingToChooseBy(manifest.name, active, stale)
  }

  #discriminant (
    { defaultDomain }: Manifest, signatures: ReadonlyMap<string, Signature>
  ): Promise<Discriminant> {
    return this.#slices.run(makeDiscriminant(signatures, { defaultDomain, fitMin: this.#fitMin }))
  }

  /**
   * None for a file whose signatures are malformed: the bank in it is served all the same. None for one that is broken
   * or gone: who asks for its domain is told, and others are still told apart.
   */
  async #signatures (manifest: Manifest, { domain }: DomainRecord, version: VersionRecord): Promise<Signature[]> {
    const known = this.#read.get(version.sha256)
    if (known !== undefined) return known
    try {
      const file = await this.#needs.store.read(manifest.name, domain, version.version)
      const signatures = parseSignatures(parseSafetensors(file))
      this.#read.set(version.sha256, signatures)
      return signatures
    } catch (error) {
      if (!(error instanceof BankswitchError) || error.kind === 'unavailable') throw error
      this.#needs.logger.warn({ err: error, model: manifest.name, domain }, 'a signature is unusable')
      return []
    }
  }
}

interface KnownGroups {
  /** The store's list that they are of: it is the same one until something changes. */
  records: readonly DomainRecord[]
  stem: string
  /** Names what is active, which not every change changes. */
  key: string
  groups: Promise<SizeGroup[]>
}

/** Of one size. */
interface Gathered {
  size: PictureSize | undefined
  domains: Map<string, number>
  signatures: Map<string, Signature>
}

interface ActiveVersion {
  record: DomainRecord
  version: VersionRecord
}

function activeOf (records: readonly DomainRecord[]): ActiveVersion[] {
  return records.flatMap((record) => {
    const version = record.versions.find((one) => one.version === record.active)
    return version === undefined ? [] : [{ record, version }]
  })
}

const ANY_SIZE = Symbol('any size')

/** Undefined for a signature of another preparation than the model's. */
function sizeOf (
  manifest: Manifest, { origin: { preparation } }: Signature
): PictureSize | typeof ANY_SIZE | undefined {
  if (takesPictures(manifest) && manifest.task === 'classification') return sizePrepared(manifest, preparation)
  return preparation === preparationOf(manifest, undefined) ? ANY_SIZE : undefined
}

/** The size that a domain's pictures are run in. */
function ownSize (manifest: Manifest, { domain }: DomainRecord, version: VersionRecord): PictureSize | undefined {
  if (!takesPictures(manifest) || manifest.task !== 'classification') return undefined
  return version.preprocessing?.size ?? entryOf(manifest, domain)?.input?.size ?? rulesOf(manifest, domain).size
}

/** Of a network that has no stem. */
export function autoUnsupported (model: string): Error {
  return servingErrors.AUTO_UNSUPPORTED(`the first batch norms of "${model}" see nothing that tells domains apart`)
}

function nothingToChooseBy (model: string, active: readonly ActiveVersion[], stale: readonly string[]): Error {
  const [domain] = [...stale, ...active.map(({ record }) => record.domain), 'DOMAIN']
  const advice = `make it with: bankswitch signature --model ${model} --domain ${domain} --url URL PICTURES`
  if (stale.length > 0) {
    return servingErrors.SIGNATURE_STALE(
      `the signature of domain "${domain}" was made for another network or preparation of pictures; ${advice}`,
      { domains: stale.slice(0, DOMAINS_MAX) }
    )
  }
  return servingErrors.SIGNATURE_MISSING(
    `no domain of "${model}" has a signature to be chosen by; ${advice}`, { expected: 'a signature', received: 'none' }
  )
}
