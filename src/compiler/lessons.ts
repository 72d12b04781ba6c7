/**
 * What the rounds of a compilation teach. Lessons only grow, so the rounds come to an end: a site that could not be
 * placed stays generic, and a cost that was seen is never forgotten.
 */
import assert from 'node:assert'
import { FLOAT_BYTES, type Plan, type SiteKind } from './plan.js'
import type { PromotedPorts } from './promote-ports.js'

export interface Lessons {
  /** Sites that can only be lowered generically. */
  readonly generic: Set<number>
  /** The most that each site was seen to cost, by kind. */
  readonly measured: Array<Partial<Record<SiteKind, number>>>
  /** The most that was seen to lie between the slices of a bank. */
  gapBytes: number
}

export function noLessons (sites: readonly unknown[]): Lessons {
  return { generic: new Set(), measured: sites.map(() => ({})), gapBytes: 0 }
}

/** The optimiser swallowed a port of these sites, which only another form than a generic one can suffer. */
export function learnLost ({ generic }: Lessons, lostSites: readonly number[]): void {
  assert(lostSites.some((site) => !generic.has(site)), 'a port of the generic form is never lost')
  for (const site of lostSites) generic.add(site)
}

/** What the sites of a built graph cost, padding included, and what lies between them. */
export function learnCosts (lessons: Lessons, plan: Plan, { siteBytes, layout }: PromotedPorts): void {
  for (const [at, { kind }] of plan.sites.entries()) {
    const costs = lessons.measured[at]!
    costs[kind] = Math.max(costs[kind] ?? 0, siteBytes[at]!)
  }
  const gapBytes = layout.length * FLOAT_BYTES - siteBytes.reduce((sum, bytes) => sum + bytes, 0)
  lessons.gapBytes = Math.max(lessons.gapBytes, gapBytes)
}

/** The graph computes something else: nothing but the generic form is trusted. False when all was generic already. */
export function learnWrong ({ generic, measured }: Lessons): boolean {
  if (generic.size === measured.length) return false
  for (const site of measured.keys()) generic.add(site)
  return true
}
