/**
 * The one place that chooses which version answers a request, and holds it.
 *
 * A strategy is a function that knows the answer or leaves it to the next; STRATEGIES is their order. It may look at
 * what was sent, and may take its time. The version is resolved and leased in one step after it: from then until
 * `release` nobody removes it, and whatever is activated meanwhile, the request is answered by it as a whole. Of a
 * blend all parts are held.
 */
import assert from 'node:assert/strict'
import { readPictureHeader } from '../../imaging/decode.js'
import { leaseChosen, resolveReference, type ChosenVersion } from '../blends.js'
import { domainBySize, sizeOfTensors, type PictureSize } from '../domain-by-size.js'
import { AUTO, withNews } from '../domain-reference.js'
import { isAutoReference, NAMED, pinned, type VersionWish } from '../version-wish.js'
import type { Manifest } from '../../models/manifest.js'
import type { Tensors } from '../../ort/rows.js'
import type { BankStore } from '../../store/bank-store.js'
import type { Reference } from '../blend-reference.js'
import type { Leases } from '../leases.js'
import type { Recognised } from '../recognising/recognition.js'

/** What was sent: tensors, or a picture that is not decoded yet; and what tells which domain it looks like. */
export type ChoiceInput = ({ readonly feeds: Tensors } | { readonly image: Uint8Array }) & {
  recognise? (): Promise<Recognised>
}

/** What a strategy may look at. */
export interface Choice {
  readonly manifest: Manifest
  readonly wish: VersionWish
  /** Undefined where only the chosen version says how what was sent is to be read. */
  readonly input: ChoiceInput | undefined
  readonly store: Pick<BankStore, 'domain' | 'domains'>
  /** Largest picture. */
  readonly imagePixels: number
}

/** AUTO leaves it to what the input looks like. */
type Wanted = Reference | typeof AUTO

export type Strategy = (choice: Choice) => Wanted | undefined | Promise<Wanted | undefined>

/** What choosing needs. */
export interface ChoiceNeeds {
  store: Pick<BankStore, 'domain' | 'domains' | 'catchUp'>
  leases: Pick<Leases, 'take'>
  /** Largest picture. */
  imagePixels: number
}

export interface LeasedVersion extends ChosenVersion {
  /** Where the domain was chosen by what was sent. */
  recognised?: Recognised
  /** To be called exactly once, when the request is over, however it ends. */
  release (): void
}

/** `domainFrom: "auto"`. */
const byLooks: Strategy = ({ manifest }) => manifest.domainFrom === AUTO ? AUTO : undefined

/** `domainFrom: "inputSize"`: the size of the tensors, or the one in the picture's header. */
const bySize: Strategy = ({ manifest, store, input, imagePixels }) => {
  if (manifest.task !== 'classification' || manifest.domainFrom !== 'inputSize' || input === undefined) return undefined
  const domainOf = (size: PictureSize) => ({ domain: domainBySize(store, manifest, size) })
  if ('image' in input) return readPictureHeader(input.image, imagePixels).then(domainOf)
  const size = sizeOfTensors(manifest, input.feeds)
  return size === undefined ? undefined : domainOf(size)
}

const byManifest: Strategy = ({ manifest: { defaultDomain } }) => ({ domain: defaultDomain })

/** The first that knows decides. */
export const STRATEGIES: readonly Strategy[] = [
  ...NAMED.map((place): Strategy => ({ wish, manifest }) => {
    const named = place(wish, manifest.defaultDomain)
    const wanted = named === undefined ? undefined : pinned(named, wish)
    return wanted !== undefined && isAutoReference(wanted) ? AUTO : wanted
  }),
  byLooks,
  bySize,
  byManifest
]

/**
 * Chooses a version and leases it. Rejects with what the strategies and resolving throw, and VERSION_LEAVING when the
 * version is being removed; nothing is held then.
 */
export async function chooseVersion (
  { store, leases, imagePixels }: ChoiceNeeds, manifest: Manifest, wish: VersionWish, input: ChoiceInput | undefined,
  strategies = STRATEGIES
): Promise<LeasedVersion> {
  const choice = { manifest, wish, input, store, imagePixels }
  for (const strategy of strategies) {
    const known = strategy(choice)
    const found = known instanceof Promise ? await known : known
    if (found === undefined) continue
    const recognised = found === AUTO ? await recognise(input) : undefined
    const wanted: Reference = found === AUTO ? { domain: recognised!.domain } : found
    return await withNews(store, () => {
      const chosen = resolveReference(store, manifest, wanted, wish.canaryKey)
      const release = leaseChosen(leases, manifest.name, chosen)
      return { release, ...(recognised === undefined ? {} : { recognised }), ...chosen }
    })
  }
  assert.fail('the last strategy always knows')
}

/** The domain that the input looks like. */
function recognise (input: ChoiceInput | undefined): Promise<Recognised> {
  assert(input?.recognise !== undefined, 'what is to be recognised was sent')
  return input.recognise()
}
