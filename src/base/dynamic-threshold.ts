const SHARE = 4

/**
 * May one of several who share a room go on to hold this much, with so much still free? Each may hold `share` times of
 * it, so a flood of one always leaves room for the others (dynamic threshold, Choudhury & Hahne 1998).
 */
export function isWithinShare (held: number, free: number, share = SHARE): boolean {
  return held <= share * free
}
