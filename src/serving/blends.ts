/** What answers a request: a version of a domain, or a blend of several versions. */
import { isDeepStrictEqual } from 'node:util'
import { sha256 } from '../base/digest.js'
import { takesPictures, type Manifest } from '../models/manifest.js'
import { rulesOf } from '../models/preprocessing.js'
import { describeBlend, isBlend, type BlendReference, type Reference } from './blend-reference.js'
import { resolveDomain, type ResolvedDomain } from './domain-reference.js'
import { servingErrors } from './errors.js'
import { leaseKey, type Leases } from './leases.js'
import type { BankStore } from '../store/bank-store.js'

/** Of a blend, `record` and `version` are of its heaviest part, whose turn it takes and as which it is counted. */
export interface ChosenVersion extends ResolvedDomain {
  readonly blend?: Blend
}

export interface Blend {
  /** At least two versions, by name and number. */
  readonly parts: readonly BlendPartChosen[]
  /** As answers name it. */
  readonly text: string
  /** Of shares and banks: equal blends have equal ones, whatever the names and the order of their parts. */
  readonly digest: string
}

export interface BlendPartChosen extends ResolvedDomain {
  readonly hundredths: number
}

/** As answers name it: the domain, or all parts of a blend with their versions and shares. */
export function nameOfChosen ({ record, blend }: ChosenVersion): string {
  return blend?.text ?? record.domain
}

/** Names the content of the bank that answers. */
export function digestOfChosen ({ version, blend }: ChosenVersion): string {
  return blend?.digest ?? version.digest
}

/**
 * The active or pinned version of every part; canaries have no part in blends. One version alone, under whatever names,
 * is no blend. Throws what `resolveDomain` throws, and BLEND_PREPROCESSING_DIFFERS for parts that would see a picture
 * in different ways.
 */
export function resolveBlend (
  store: Pick<BankStore, 'domain' | 'domains'>, manifest: Manifest, { parts: references }: BlendReference
): ChosenVersion {
  const parts = new Map<string, BlendPartChosen>()
  for (const { hundredths, ...reference } of references) {
    const resolved = resolveDomain(store, manifest.name, reference)
    const key = `${resolved.record.domain}:${resolved.version.version}`
    parts.set(key, { ...resolved, hundredths: hundredths + (parts.get(key)?.hundredths ?? 0) })
  }
  const all = [...parts.values()].sort((a, b) => {
    if (a.record.domain === b.record.domain) return a.version.version - b.version.version
    return a.record.domain < b.record.domain ? -1 : 1
  })
  requireOnePreprocessing(manifest, all)
  const { record, version } = all.reduce((a, b) => b.hundredths > a.hundredths ? b : a)
  if (all.length === 1) return { record, version }
  const text = describeBlend(all.map(({ record: { domain }, version: { version }, hundredths }) => {
    return { domain, version, hundredths }
  }))
  return { record, version, blend: { parts: all, text, digest: digestOf(all) } }
}

/** Whatever a request may name. Throws what `resolveDomain` and `resolveBlend` throw. */
export function resolveReference (
  store: Pick<BankStore, 'domain' | 'domains'>, manifest: Manifest, reference: Reference, canaryKey?: string
): ChosenVersion {
  return isBlend(reference)
    ? resolveBlend(store, manifest, reference)
    : resolveDomain(store, manifest.name, reference, canaryKey)
}

/** Throws BLEND_PREPROCESSING_DIFFERS. */
function requireOnePreprocessing (manifest: Manifest, parts: readonly BlendPartChosen[]): void {
  if (!takesPictures(manifest)) return
  const rules = parts.map(({ record, version }) => rulesOf(manifest, record.domain, version.preprocessing))
  const other = rules.findIndex((one) => !isDeepStrictEqual(one, rules[0]))
  if (other < 0) return
  const [first, second] = [parts[0]!.record.domain, parts[other]!.record.domain]
  throw servingErrors.BLEND_PREPROCESSING_DIFFERS(
    `domains "${first}" and "${second}" prepare pictures in different ways and cannot be blended`,
    { expected: rules[0], received: rules[other] }
  )
}

/** A single bank in all parts is that bank. */
function digestOf (parts: readonly BlendPartChosen[]): string {
  const banks = sharesOfBanks(parts)
  if (banks.length === 1) return banks[0]!.digest
  return sha256(banks.map(({ digest, hundredths }) => `${hundredths} ${digest}\n`).join(''))
}

/** What each different bank has in all, in the order of their digests, with a part that has it. */
export function sharesOfBanks (
  parts: readonly BlendPartChosen[]
): Array<{ digest: string, hundredths: number, part: BlendPartChosen }> {
  const shares = new Map<string, { digest: string, hundredths: number, part: BlendPartChosen }>()
  for (const part of parts) {
    const { version: { digest }, hundredths } = part
    shares.set(digest, { digest, hundredths: hundredths + (shares.get(digest)?.hundredths ?? 0), part })
  }
  return [...shares.values()].sort((a, b) => a.digest < b.digest ? -1 : 1)
}

/** Holds versions, and all parts of blends, until what is returned is called. Throws VERSION_LEAVING. */
export function leaseChosen (leases: Pick<Leases, 'take'>, model: string, ...chosen: ChosenVersion[]): () => void {
  const held: Array<() => void> = []
  const release = () => { for (const one of held) one() }
  try {
    for (const { record, version } of chosen.flatMap((one): readonly ResolvedDomain[] => one.blend?.parts ?? [one])) {
      held.push(leases.take(leaseKey(model, record.domain, version.version)))
    }
    return release
  } catch (error) {
    release()
    throw error
  }
}
