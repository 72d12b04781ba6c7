/** Rows of features as images of one domain have them: correlated, around a centre. */
import { seededNormal } from './random.js'

export const ORIGIN = { stem: 'stem', preparation: '32x32' }

/** `count` rows of `2 * channels` features; neighbours depend on each other, so that a diagonal would not do. */
export function featureRows (count: number, channels: number, seed: number, centre = 0): Float64Array[] {
  const normal = seededNormal(seed)
  return Array.from({ length: count }, () => {
    const row = new Float64Array(2 * channels)
    const common = normal()
    for (let at = 0; at < row.length; at++) row[at] = centre + common + 0.3 * normal()
    return row
  })
}
