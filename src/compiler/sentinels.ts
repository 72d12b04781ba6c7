/**
 * Recognisable constants.
 *
 * The runtime's optimiser works on constants only: it reorders and pads weights for its blocked layout and renames
 * them. So a port first holds sentinel values, each element its own float32 bit pattern, counted up over all ports.
 * In the optimised graph the patterns tell, element by element, where everything went: no knowledge of any layout is
 * needed, and a port whose values were computed with (a constant Mul fused into it, say) no longer matches at all.
 *
 *   pattern = FIRST_PATTERN + number of the element over all ports
 *
 * Every pattern is a normal positive number, so copies keep it and arithmetic does not: a model file holds fewer than
 * 2^29 elements, and patterns stay finite for 2^30. They begin at a number that nobody writes, because a port of one
 * channel is a single number: one that began at 0.5 was merged with the 0.5 of an ordinary node.
 */

/** 0.6693536… */
const FIRST_PATTERN = 0x3f2b5ac3

/** Source element of a padded position. */
export const PADDED = -1

export interface SentinelRange {
  /** Number of the port's first element over all ports. */
  readonly first: number
  readonly length: number
}

/** The sentinel values of one port. */
export function makeSentinel ({ first, length }: SentinelRange): Float32Array {
  const patterns = new Uint32Array(length)
  for (let at = 0; at < length; at++) patterns[at] = FIRST_PATTERN + first + at
  return new Float32Array(patterns.buffer)
}

/**
 * Where the elements of a port went in a tensor of the optimised graph: for each element the index in the original
 * port, or PADDED for zeros. Undefined when the tensor is no port: every other pattern, a missing or a doubled element.
 *
 * `ranges` must be sorted by `first`.
 */
export function matchSentinel (
  values: Float32Array, ranges: readonly SentinelRange[]
): { range: SentinelRange, source: Int32Array } | undefined {
  const patterns = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const start = patterns.find((pattern) => pattern !== 0)
  if (start === undefined) return undefined
  const range = rangeOf(start - FIRST_PATTERN, ranges)
  if (range === undefined || range.length > values.length) return undefined
  const source = new Int32Array(values.length)
  const seen = new Uint8Array(range.length)
  let found = 0
  for (let at = 0; at < patterns.length; at++) {
    if (patterns[at] === 0) {
      source[at] = PADDED
      continue
    }
    const element = patterns[at]! - FIRST_PATTERN - range.first
    if (element < 0 || element >= range.length || seen[element] === 1) return undefined
    seen[element] = 1
    source[at] = element
    found++
  }
  return found === range.length ? { range, source } : undefined
}

function rangeOf (element: number, ranges: readonly SentinelRange[]): SentinelRange | undefined {
  let low = 0
  let high = ranges.length - 1
  while (low <= high) {
    const middle = (low + high) >> 1
    const range = ranges[middle]!
    if (element < range.first) high = middle - 1
    else if (element >= range.first + range.length) low = middle + 1
    else return range
  }
  return undefined
}
