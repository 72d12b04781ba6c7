/**
 * `day=0.7,lowlight:3=0.3`: several domains at once, each with its share, as a request writes it.
 *
 * Shares are kept in hundredths, so that whoever fades from one domain into another meets a hundred blends on the way
 * and not as many as there are numbers. What stands in a reference twice counts once, with the sum of its shares; the
 * order means nothing.
 */
import { LRUCache } from 'lru-cache'
import { parseDomainReference, type DomainReference } from './domain-reference.js'
import { servingErrors } from './errors.js'

export interface BlendReference {
  /** Of the heaviest part, of parts as heavy the first by name: a blend waits in its turn. */
  readonly domain: string
  /** In alphabetical order. */
  readonly parts: readonly WeightedReference[]
}

export interface WeightedReference extends DomainReference {
  /** In hundredths, at least 1; those of all parts sum to 100. */
  readonly hundredths: number
}

/** What a request may name: a domain, or a blend of several. */
export type Reference = DomainReference | BlendReference

const PARTS_MAX = 8

const HUNDREDTHS = 100

/** How far the shares of a request may be from 1 in all: as far as three that are a third each, in two digits. */
const SUM_TOLERANCE = 0.011

/** Eight of the longest names, pins and shares, and room around them. */
const TEXT_MAX = 1600

/** Requests repeat the blends they ask for, and several places of the way read a reference. */
const lastRead = new LRUCache<string, BlendReference>({ max: 256 })

const SHARE = /^(?:\d?\.\d{1,12}|\d)$/

export function isBlend (reference: Reference): reference is BlendReference {
  return 'parts' in reference
}

/** A blend where the text has a share in it, else a single domain. Throws DOMAIN_REFERENCE_INVALID. */
export function parseReference (text: string): Reference {
  if (!text.includes('=')) return parseDomainReference(text)
  let blend = lastRead.get(text)
  if (blend === undefined) lastRead.set(text, blend = parseBlend(text))
  return blend
}

/**
 * Parts are separated by commas, or by semicolons, which is how answers write them. Shares that sum to 1 but for
 * SUM_TOLERANCE are scaled to do so, rounded down to hundredths, and what is left goes to those that lost most (largest
 * remainder); a part that ends with nothing falls out. Throws DOMAIN_REFERENCE_INVALID.
 */
function parseBlend (text: string): BlendReference {
  if (text.length > TEXT_MAX) throw invalid('is too long', `at most ${TEXT_MAX} characters`, text)
  const texts = text.split(/[,;]/)
  if (texts.length > PARTS_MAX) throw invalid('has too many parts', `at most ${PARTS_MAX} parts`, texts.length)
  const shares = new Map<string, { reference: DomainReference, share: number }>()
  for (const part of texts) {
    const [name = '', share = '', ...rest] = part.split('=').map((piece) => piece.trim())
    if (rest.length > 0 || !SHARE.test(share) || Number(share) === 0) {
      throw invalid(`has a part without a share: "${part.slice(0, 100)}"`, 'name=share, such as day=0.7, above 0', text)
    }
    const reference = parseDomainReference(name)
    const key = nameOf(reference)
    shares.set(key, { reference, share: (shares.get(key)?.share ?? 0) + Number(share) })
  }
  const sorted = [...shares].sort(([one], [other]) => one < other ? -1 : 1).map(([, value]) => value)
  const sum = sorted.reduce((all, { share }) => all + share, 0)
  if (Math.abs(sum - 1) > SUM_TOLERANCE) throw invalid('has shares that do not sum to 1', 1, Number(sum.toFixed(12)))
  const hundredths = apportion(sorted.map(({ share }) => share / sum))
  const parts = sorted.flatMap(({ reference }, at) => {
    return hundredths[at] === 0 ? [] : [{ ...reference, hundredths: hundredths[at]! }]
  })
  const heaviest = parts.reduce((a, b) => b.hundredths > a.hundredths ? b : a)
  return { domain: heaviest.domain, parts }
}

/** Shares that sum to 1, in whole hundredths that sum to 100: by largest remainder, ties to the first. */
function apportion (shares: readonly number[]): number[] {
  // A share that was written as 0.29 is 28.999999999999996 hundredths in binary.
  const exact = shares.map((share) => Number((share * HUNDREDTHS).toFixed(9)))
  const whole = exact.map(Math.floor)
  const left = HUNDREDTHS - whole.reduce((all, one) => all + one, 0)
  const byRemainder = exact.map((share, at) => ({ at, remainder: share - whole[at]! }))
    .sort((a, b) => b.remainder - a.remainder || a.at - b.at)
  for (const { at } of byRemainder.slice(0, left)) whole[at]!++
  return whole
}

/** `night`, `night:3` or `night:stable`. */
function nameOf ({ domain, version, label }: DomainReference): string {
  const pin = version ?? label
  return pin === undefined ? domain : `${domain}:${pin}`
}

/** How answers write a blend: with versions, and between its parts semicolons, for commas separate domains of rows. */
export function describeBlend (
  parts: ReadonlyArray<{ domain: string, version: number, hundredths: number }>
): string {
  return parts.map(({ domain, version, hundredths }) => `${domain}:${version}=${hundredths / HUNDREDTHS}`).join(';')
}

function invalid (what: string, expected: string | number, received: string | number): Error {
  return servingErrors.DOMAIN_REFERENCE_INVALID(`the blend of domains ${what}`, {
    expected, received: typeof received === 'string' ? received.slice(0, 100) : received
  })
}
