/**
 * Pass: decides how each batch norm becomes switchable.
 *
 *   fold     the Conv before it takes folded weights and bias from the bank: no pass over the activation at all, at the
 *            price of the Conv's weights in every bank
 *   affine   a depthwise 1x1 Conv with weight and bias from the bank: ONNX Runtime keeps it in its blocked layout and
 *            fuses the activation and the residual sum into it
 *   generic  BatchNormalization with its parameters from the bank: for what a 4-D Conv cannot express
 *
 * The dial is bytes per domain. All sites start as cheap as they can be (affine or generic); folds are then bought in
 * order of (activation bytes saved) / (additional bytes paid) while the budget lasts, those that cost nothing first:
 * then a larger budget never saves less. Ties keep graph order, so a plan depends on the model and the budget only.
 */

export const SITE_KINDS = ['fold', 'affine', 'generic'] as const
export type SiteKind = typeof SITE_KINDS[number]

export interface SiteOptions {
  readonly channels: number
  /** 4-D input: `affine` is possible. */
  readonly isAffinePossible: boolean
  /** Elements of the foldable Conv's weight; undefined where `fold` is impossible. */
  readonly foldElements?: number
  /** Bytes of the normalised activation for one row of the sample input: read and written by an unfolded site. */
  readonly activationBytes: number
  /**
   * What the site was seen to cost in a built graph, by kind: the optimiser pads channels to its block size, which no
   * plan can know beforehand.
   */
  readonly measuredBytes?: Readonly<Partial<Record<SiteKind, number>>>
}

export interface PlannedSite {
  readonly kind: SiteKind
  /** What the site costs in every bank. */
  readonly bankBytes: number
  /** Memory traffic saved per row against an unfolded site: 0, or one read and one write of the activation. */
  readonly savedBytes: number
}

export interface Plan {
  readonly sites: readonly PlannedSite[]
  readonly bankBytes: number
}

export const FLOAT_BYTES = 4

/**
 * Plans every site within `budgetBytes` per domain. The budget bounds what folds add; the statistics themselves (8
 * bytes a channel) are always paid. Infinity folds everything that can be folded; 0 folds only what costs nothing more.
 */
export function planSites (sites: readonly SiteOptions[], budgetBytes: number): Plan {
  const unfolded = sites.map((site) => site.measuredBytes?.[unfoldedKind(site)] ?? 2 * site.channels * FLOAT_BYTES)
  const candidates = sites.flatMap((site, at) => {
    if (site.foldElements === undefined) return []
    const bytes = site.measuredBytes?.fold ?? (site.foldElements + site.channels) * FLOAT_BYTES
    const extra = bytes - unfolded[at]!
    const saved = 2 * site.activationBytes
    return [{ at, bytes, extra, saved, worth: extra <= 0 ? Infinity : saved / extra }]
  }).sort((a, b) => b.worth - a.worth || a.at - b.at)
  const base = unfolded.reduce((sum, bytes) => sum + bytes, 0)
  let spent = base
  const folds = new Map<number, { bytes: number, saved: number }>()
  for (const { at, bytes, extra, saved } of candidates) {
    if (extra > 0 && spent + extra > budgetBytes) continue
    folds.set(at, { bytes, saved })
    spent += extra
  }
  const planned = sites.map((site, at): PlannedSite => {
    const fold = folds.get(at)
    if (fold !== undefined) return { kind: 'fold', bankBytes: fold.bytes, savedBytes: fold.saved }
    return { kind: unfoldedKind(site), bankBytes: unfolded[at]!, savedBytes: 0 }
  })
  return { sites: planned, bankBytes: spent }
}

function unfoldedKind ({ isAffinePossible }: SiteOptions): SiteKind {
  return isAffinePossible ? 'affine' : 'generic'
}
