import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { planSites, type Plan, type SiteOptions } from '#src/compiler/plan.js'
import { runSeed } from '../support/run-seed.js'

const FLOAT_BYTES = 4

/** A site after a Conv: 8 channels, 64 bytes of statistics, unless said otherwise. */
const site = (options: Partial<SiteOptions> = {}): SiteOptions => {
  return { channels: 8, isAffinePossible: true, activationBytes: 1000, ...options }
}

const kinds = ({ sites }: Plan) => sites.map(({ kind }) => kind)

/** What a site costs and saves when it is folded, beyond what it costs unfolded. */
const foldBytes = (elements: number, channels = 8) => (elements + channels) * FLOAT_BYTES

describe('unfolded sites', () => {
  test('affine where possible, generic elsewhere, at 8 bytes a channel', () => {
    const plan = planSites([site(), site({ isAffinePossible: false, channels: 3 })], 0)
    assert.deepEqual(plan, {
      sites: [{ kind: 'affine', bankBytes: 64, savedBytes: 0 }, { kind: 'generic', bankBytes: 24, savedBytes: 0 }],
      bankBytes: 88
    })
  })

  test('they are paid whatever the budget', () => {
    assert.equal(planSites([site(), site()], 1).bankBytes, 128)
  })

  test('without a Conv to fold into no budget folds', () => {
    assert.deepEqual(kinds(planSites([site(), site({ isAffinePossible: false })], Infinity)), ['affine', 'generic'])
  })
})

describe('folds', () => {
  test('a fold costs its weights and one shift a channel, and saves a read and a write', () => {
    const plan = planSites([site({ foldElements: 72 })], Infinity)
    assert.deepEqual(plan, { sites: [{ kind: 'fold', bankBytes: 320, savedBytes: 2000 }], bankBytes: 320 })
  })

  test('a budget that is met exactly is enough, a byte less is not', () => {
    const sites = [site(), site({ foldElements: 72 })]
    const needed = 64 + foldBytes(72)
    assert.deepEqual(kinds(planSites(sites, needed)), ['affine', 'fold'])
    assert.deepEqual(kinds(planSites(sites, needed - 1)), ['affine', 'affine'])
  })

  test('the best saving per byte is bought first', () => {
    const sites = [
      site({ foldElements: 100, activationBytes: 1000 }),
      site({ foldElements: 100, activationBytes: 3000 }),
      site({ foldElements: 10, activationBytes: 500 })
    ]
    const budgetFor = (folds: number[]) => {
      return sites.reduce((sum, { foldElements }, at) => sum + (folds.includes(at) ? foldBytes(foldElements!) : 64), 0)
    }
    assert.deepEqual(kinds(planSites(sites, budgetFor([2]))), ['affine', 'affine', 'fold'])
    assert.deepEqual(kinds(planSites(sites, budgetFor([1, 2]))), ['affine', 'fold', 'fold'])
    assert.deepEqual(kinds(planSites(sites, budgetFor([0, 1, 2]))), ['fold', 'fold', 'fold'])
  })

  test('what does not fit is passed over for what does', () => {
    const sites = [site({ foldElements: 1000, activationBytes: 1e6 }), site({ foldElements: 10, activationBytes: 100 })]
    assert.deepEqual(kinds(planSites(sites, 64 + foldBytes(10))), ['affine', 'fold'])
  })

  test('equal ones are bought in the order of the graph', () => {
    const sites = [site({ foldElements: 72 }), site({ foldElements: 72 }), site({ foldElements: 72 })]
    assert.deepEqual(kinds(planSites(sites, 2 * 64 + foldBytes(72))), ['fold', 'affine', 'affine'])
  })

  test('one that costs nothing more is taken at budget 0', () => {
    assert.deepEqual(kinds(planSites([site({ foldElements: 8 }), site({ foldElements: 9 })], 0)), ['fold', 'affine'])
  })

  test('a generic site can be folded', () => {
    assert.deepEqual(kinds(planSites([site({ isAffinePossible: false, foldElements: 72 })], Infinity)), ['fold'])
  })
})

describe('measured costs', () => {
  test('replace the reckoned ones', () => {
    const sites = [site({ measuredBytes: { affine: 128 } }), site({ foldElements: 72, measuredBytes: { fold: 640 } })]
    assert.deepEqual(planSites(sites, Infinity).sites.map(({ bankBytes }) => bankBytes), [128, 640])
    assert.deepEqual(kinds(planSites(sites, 128 + 639)), ['affine', 'affine'])
    assert.equal(planSites(sites, 0).bankBytes, 128 + 64)
  })

  test('those of another kind do not', () => {
    const sites = [site({ measuredBytes: { fold: 999, generic: 999 } })]
    assert.equal(planSites(sites, 0).bankBytes, 64)
  })

  test('a fold that frees bytes is taken before any is bought', () => {
    const sites = [
      site({ foldElements: 72, activationBytes: 1e6 }),
      site({ foldElements: 8, activationBytes: 1, measuredBytes: { affine: 400, fold: 64 } })
    ]
    assert.deepEqual(kinds(planSites(sites, foldBytes(72) + 64)), ['fold', 'fold'])
  })
})

describe('properties', () => {
  const bytes = fc.integer({ min: 4, max: 20_000 })
  const anySite: fc.Arbitrary<SiteOptions> = fc.record({
    channels: fc.integer({ min: 1, max: 64 }),
    isAffinePossible: fc.boolean(),
    activationBytes: fc.integer({ min: 0, max: 100_000 }),
    foldElements: fc.integer({ min: 1, max: 5000 }),
    measuredBytes: fc.record({ fold: bytes, affine: bytes, generic: bytes }, { requiredKeys: [] })
  }, { requiredKeys: ['channels', 'isAffinePossible', 'activationBytes'] })
  const anySites = fc.array(anySite, { maxLength: 12 })
  const anyBudget = fc.integer({ min: 0, max: 60_000 })

  const costs = ({ channels, isAffinePossible, foldElements, measuredBytes }: SiteOptions) => ({
    unfolded: measuredBytes?.[isAffinePossible ? 'affine' : 'generic'] ?? 2 * channels * FLOAT_BYTES,
    fold: foldElements === undefined ? undefined : measuredBytes?.fold ?? foldBytes(foldElements, channels)
  })
  const saved = ({ sites }: Plan) => sites.reduce((sum, { savedBytes }) => sum + savedBytes, 0)
  const check = <Values>(property: fc.IRawProperty<Values>) => fc.assert(property, { seed: runSeed, numRuns: 500 })

  test('a plan costs at most the budget, or what the statistics alone cost', () => {
    check(fc.property(anySites, anyBudget, (sites, budget) => {
      const base = sites.reduce((sum, options) => sum + costs(options).unfolded, 0)
      assert.ok(planSites(sites, budget).bankBytes <= Math.max(budget, base))
    }))
  })

  test('the whole is the sum of the sites, each at its own cost', () => {
    check(fc.property(anySites, anyBudget, (sites, budget) => {
      const plan = planSites(sites, budget)
      assert.equal(plan.sites.length, sites.length)
      assert.equal(plan.bankBytes, plan.sites.reduce((sum, { bankBytes }) => sum + bankBytes, 0))
      for (const [at, { kind, bankBytes, savedBytes }] of plan.sites.entries()) {
        const { unfolded, fold } = costs(sites[at]!)
        assert.equal(bankBytes, kind === 'fold' ? fold : unfolded)
        assert.equal(savedBytes, kind === 'fold' ? 2 * sites[at]!.activationBytes : 0)
        if (kind !== 'fold') assert.equal(kind, sites[at]!.isAffinePossible ? 'affine' : 'generic')
      }
    }))
  })

  test('more budget never saves less', () => {
    check(fc.property(anySites, anyBudget, anyBudget, (sites, one, other) => {
      assert.ok(saved(planSites(sites, Math.min(one, other))) <= saved(planSites(sites, Math.max(one, other))))
    }))
  })

  test('the same sites and budget give the same plan', () => {
    check(fc.property(anySites, anyBudget, (sites, budget) => {
      assert.deepEqual(planSites(structuredClone(sites), budget), planSites(sites, budget))
    }))
  })

  test('Infinity folds all that can be folded, 0 only what costs nothing more', () => {
    check(fc.property(anySites, (sites) => {
      const all = kinds(planSites(sites, Infinity))
      const none = kinds(planSites(sites, 0))
      for (const [at, options] of sites.entries()) {
        const { unfolded, fold } = costs(options)
        assert.equal(all[at] === 'fold', fold !== undefined)
        assert.equal(none[at] === 'fold', fold !== undefined && fold <= unfolded)
      }
    }))
  })
})
