/**
 * Which domain a picture belongs to that names none: the door of recognising.
 *
 * The stem reads the picture's features; the discriminant of the signatures chooses. Domains that differ in their
 * pictures' size are told apart by the size first: only signatures of the size that is nearest compete. A picture that
 * no domain fits is answered by the default domain, if that is one for pictures of this size.
 */
import { BankswitchError } from '../../base/errors.js'
import { rulesAt, type PictureSize } from '../../models/signature-preparation.js'
import { domainBySize, nearestSize, sizeOfTensors } from '../domain-by-size.js'
import { checkFeeds } from '../feeds.js'
import { someValues } from '../some-values.js'
import { SignatureBook, type BookNeeds, type SizeGroup } from './signature-book.js'
import { StemRuns, type StemNeeds } from './stem-runs.js'
import { StreamFits } from './stream-fits.js'
import { Streams, type StreamOptions } from './streams.js'
import type { ImageTensor } from '../../imaging/raster.js'
import type { ClassificationManifest, Manifest } from '../../models/manifest.js'
import type { Preprocessing } from '../../models/preprocessing.js'
import type { Metrics } from '../../observability/metrics.js'
import type { Tensors } from '../../ort/rows.js'
import type { Discriminant } from '../../signature/discriminant.js'
import type { BankStore } from '../../store/bank-store.js'
import type { ReadyModel } from '../model-states.js'
import type { Sender } from '../version-wish.js'

export { autoUnsupported } from './signature-book.js'

/** How well a picture fits: a domain, none, or a domain that its size alone chose. */
export type Fit = 'good' | 'none' | 'size'

export interface Recognised {
  /** That is to answer: the nearest, the stream's, or the default domain. */
  readonly domain: string
  readonly fit: Fit
  /** What this picture alone looks like: of the domains that it fits the likeliest, of all where it fits none. */
  readonly nearest: string
  readonly runnerUp?: string
  /** By how much the nearest is likelier than the runner-up, in nats; negative where the runner-up does not fit. */
  readonly margin?: number
  /** Conformal p-value under the nearest; absent where the size alone chose. */
  readonly p?: number
}

/** How well a picture fits one domain. */
export interface DomainFit {
  readonly fit: 'good' | 'none'
  /** Conformal p-value under the domain's signature. */
  readonly p: number
}

/** What a picture is held against, to tell how well it fits domains that it need not be answered by. */
export interface Gauge {
  /** How it is to be prepared for that; absent for models whose pictures have no one size. */
  readonly rules?: Preprocessing
  /** By domain and version, as in `night:3`, that has a signature, of the one row. Rejects like `features`. */
  fits (feeds: Tensors, signal?: AbortSignal): Promise<ReadonlyMap<string, DomainFit>>
}

export interface RecognitionNeeds extends BookNeeds, StemNeeds {
  store: BookNeeds['store'] & Pick<BankStore, 'domain' | 'domains'>
  metrics: Pick<Metrics, 'countRecognised'>
}

export interface RecognitionOptions extends StreamOptions {
  /** A picture with a smaller p-value fits no domain, nor does a stream whose last pictures have one together. */
  fitMin: number
  /** Milliseconds that only grow; performance.now() unless given. */
  now?: () => number
}

/** A picture that can be prepared by any rules. */
export interface Preparable {
  size: PictureSize
  prepare (rules: Preprocessing): Promise<ImageTensor>
}

export interface From {
  sender?: Sender | undefined
  signal?: AbortSignal | undefined
}

export class Recognition {
  readonly #needs: RecognitionNeeds
  readonly #options: RecognitionOptions
  readonly #book: SignatureBook
  readonly #stems: StemRuns
  readonly #streams: Streams
  readonly #fits: StreamFits
  readonly #now: () => number

  constructor (needs: RecognitionNeeds, options: RecognitionOptions) {
    this.#needs = needs
    this.#options = options
    this.#book = new SignatureBook(needs, options.fitMin)
    this.#stems = new StemRuns(needs)
    this.#streams = new Streams(options)
    this.#fits = new StreamFits(options.fitMin)
    this.#now = options.now ?? (() => performance.now())
  }

  /**
   * One choice for each row of tensors; of rows that depend on each other one for all, that of the first. Rejects with
   * what SignatureBook.groups rejects with, with what checking the tensors throws, and with what the pool throws.
   */
  async rows (model: ReadyModel, feeds: Tensors, from: From = {}): Promise<Recognised[]> {
    const groups = await this.#book.groups(model)
    const rows = checkFeeds(model.artefact.inputs, feeds)
    const { manifest } = model.entry
    const size = sizeIn(manifest, feeds)
    const choices = model.artefact.proof.isRowInvariant ? rows : 1
    const bySize = () => Array.from({ length: choices }, () => this.#bySize(manifest as ClassificationManifest, size!))
    let group = groupFor(groups, size)
    if (group.discriminant === undefined) return bySize()
    let features = this.#stems.featuresHere(model, feeds)
    if (features === undefined) {
      features = await this.features(model, feeds, rows, from.signal)
      // Once more: domains may have come and gone while the stem ran.
      group = groupFor(await this.#book.groups(model), size)
      if (group.discriminant === undefined) return bySize()
    }
    return features.slice(0, choices).map((row, at) => {
      return this.#settled(model, group, row, from.sender, () => someValues(feeds, at, rows))
    })
  }

  /** The choice for one picture of a model for classification. Rejects like `rows`, and with what preparing throws. */
  async picture (
    model: ReadyModel, manifest: ClassificationManifest, { size, prepare }: Preparable, from: From = {}
  ): Promise<Recognised> {
    const group = groupFor(await this.#book.groups(model), size)
    if (group.discriminant === undefined) return this.#bySize(manifest, size)
    const { dims, data } = await prepare(rulesAt(manifest, group.size!))
    const [recognised] = await this.rows(model, { [manifest.input.name]: { type: 'float32', dims, data } }, from)
    return recognised!
  }

  /**
   * What tells domains apart by tensors of this size; undefined where nothing does. Rejects with what the store throws.
   */
  async discriminantFor (model: ReadyModel, feeds: Tensors): Promise<Discriminant | undefined> {
    return groupFor(await this.#book.groups(model), sizeIn(model.entry.manifest, feeds)).discriminant
  }

  /** Whether the active version of a domain has a signature that counts. Rejects with what the store throws. */
  async hasSignature (model: ReadyModel, domain: string): Promise<boolean> {
    const groups = await this.#groupsOrNone(model)
    return groups.some(({ discriminant }) => discriminant?.signatureOf(domain) !== undefined)
  }

  /**
   * What pictures, or those of this size, are held against; undefined where no domain has a signature for them. Rejects
   * with what the store throws.
   */
  async gaugeFor (model: ReadyModel, size?: PictureSize): Promise<Gauge | undefined> {
    const groups = await this.#groupsOrNone(model)
    const group = groups.length === 0 ? undefined : groupFor(groups, size)
    if (group?.discriminant === undefined) return undefined
    const { size: prepared, discriminant, domains } = group
    const { manifest } = model.entry
    return {
      ...(prepared === undefined ? {} : { rules: rulesAt(manifest as ClassificationManifest, prepared) }),
      fits: async (feeds, signal) => {
        checkFeeds(model.artefact.inputs, feeds)
        const [features] = await this.features(model, feeds, 1, signal)
        return new Map([...discriminant.pValues(features!)].map(([domain, p]) => {
          return [`${domain}:${domains.get(domain)}`, { fit: this.#fitOf(p), p }]
        }))
      }
    }
  }

  /**
   * What the stem sees in each of the rows, which have been checked. Rejects with AUTO_UNSUPPORTED, and with what the
   * pool and ONNX Runtime throw.
   */
  features (model: ReadyModel, feeds: Tensors, rows: number, signal?: AbortSignal): Promise<Float64Array[]> {
    return this.#stems.features(model, feeds, rows, signal)
  }

  /** Empty where nothing tells domains apart. */
  async #groupsOrNone (model: ReadyModel): Promise<SizeGroup[]> {
    try {
      return await this.#book.groups(model)
    } catch (error) {
      if (error instanceof BankswitchError && /^(SIGNATURE|AUTO)_/.test(error.code)) return []
      throw error
    }
  }

  #fitOf (p: number): DomainFit['fit'] {
    return p < this.#options.fitMin ? 'none' : 'good'
  }

  /** Once the run, which waits for the choice, is on its way; by then a domain may be gone, and its labels with it. */
  #count (model: string, domain: string, fit: Fit): void {
    const { store, metrics } = this.#needs
    setImmediate(() => {
      if (store.domain(model, domain) !== undefined) metrics.countRecognised(model, domain, fit)
    })
  }

  #bySize (manifest: ClassificationManifest, size: PictureSize): Recognised {
    const domain = domainBySize(this.#needs.store, manifest, size)
    this.#count(manifest.name, domain, 'size')
    return { domain, fit: 'size', nearest: domain }
  }

  /** Whether it fits, and what the stream makes of it. What fits nothing has no vote. */
  #settled (
    model: ReadyModel, { discriminant, domains }: SizeGroup, features: Float64Array, sender: Sender | undefined,
    values: () => Float32Array
  ): Recognised {
    const { name, defaultDomain } = model.entry.manifest
    const { domain: nearest, runnerUp, margin, score, p } = discriminant!.choose(features)
    let fit = this.#fitOf(p)
    let domain = nearest
    if (sender !== undefined) {
      const signatureOf = (of: string) => discriminant!.signatureOf(of)
      // A domain may have gone since it got votes, or be one for pictures of another size.
      const isChoosable = (of: string) => signatureOf(of) !== undefined
      const settled = fit === 'good' ? this.#streams.settle(name, sender, nearest, isChoosable) : undefined
      const ofStream = this.#fits.see(name, sender, {
        settled, nearest, score, signatureOf, features, values: values(), at: this.#now()
      })
      if (fit === 'good') fit = this.#fitOf(ofStream)
      domain = settled ?? nearest
    }
    this.#count(name, nearest, fit)
    if (fit === 'none' && domains.has(defaultDomain)) domain = defaultDomain
    return {
      domain,
      fit,
      nearest,
      p,
      ...(runnerUp === undefined ? {} : { runnerUp }),
      ...(margin === undefined ? {} : { margin })
    }
  }
}

/** Undefined for models whose pictures have no one size. */
function sizeIn (manifest: Manifest, feeds: Tensors): PictureSize | undefined {
  return manifest.task === 'classification' ? sizeOfTensors(manifest, feeds) : undefined
}

function groupFor (groups: readonly SizeGroup[], size: PictureSize | undefined): SizeGroup {
  if (size === undefined) return groups.find(({ discriminant }) => discriminant !== undefined)!
  return nearestSize(groups.map((group) => ({ group, size: group.size! })), size)!.group
}
