/** Sums of several sites: merged, taken out again, written into a bank's file and read back. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { serializeBankSafetensors } from '#src/bank/formats/bank-safetensors.js'
import {
  bankOf, combine, contributionOf, contributionParts, OPERATIONS, parseContribution, type Contribution
} from '#src/calibration/contributions.js'
import { addSet, emptyMoments, varianceOf, type Moments } from '#src/calibration/moments.js'
import { MODES } from '#src/calibration/options.js'
import { serializeSafetensors, type TensorToWrite } from '#src/bank/formats/safetensors.js'
import type { Bank, BatchNormLayer } from '#src/bank/bank.js'
import {
  calibrateNet, ownBankOf, readCalibrationGolden, takeRows, worstDifference
} from '../support/calibration.js'
import { randomBank } from '../support/compile.js'
import { hasCode } from '../support/errors.js'
import { seededNormal } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'

const LAYERS: BatchNormLayer[] = [{ key: 'a', channels: 2, epsilon: 1e-5 }, { key: 'b.bn', channels: 3, epsilon: 1e-3 }]

/** Moments of so many seeded values per channel. */
function momentsOf (channels: number, count: number, seed: number): Moments {
  const normal = seededNormal(seed)
  const moments = emptyMoments(channels)
  for (let value = 0; value < count; value++) {
    addSet(moments, 1, Array.from({ length: channels }, () => 3 + 2 * normal()), Array<number>(channels).fill(0))
  }
  return moments
}

function contribution (images: number, seed: number, more: Partial<Contribution> = {}): Contribution {
  return {
    forward: 'fixed under base',
    images,
    moments: new Map(LAYERS.map(({ key, channels }, at) => [key, momentsOf(channels, 4 * images, 100 * seed + at)])),
    ...more
  }
}

function fileOf (given: Contribution, change: (tensors: TensorToWrite[]) => TensorToWrite[] = (same) => same): Uint8Array {
  const { tensors, metadata } = contributionParts(given)
  return serializeSafetensors(change(tensors), new Map(metadata))
}

describe('a contribution', () => {
  it('comes from the modes whose sums add up, and says under which forward', () => {
    const base = randomBank({ layers: LAYERS }, 1)
    const moments = contribution(5, 1).moments
    for (const mode of MODES) {
      const made = contributionOf(mode, base, 5, moments)
      if (mode === 'fixed' || mode === 'fvcore') {
        assert.match(made!.forward, new RegExp(`^${mode} under [0-9a-f]{64}$`))
        assert.equal(made!.images, 5)
        assert.equal(made!.moments, moments)
      } else {
        assert.equal(made, undefined, mode)
      }
    }
  })

  it('has another forward under another mode and under another base', () => {
    const [one, other] = [randomBank({ layers: LAYERS }, 1), randomBank({ layers: LAYERS }, 2)]
    const { moments } = contribution(5, 1)
    const forwards = [['fixed', one], ['fvcore', one], ['fixed', other]] as const
    assert.equal(new Set(forwards.map(([mode, base]) => contributionOf(mode, base, 5, moments)!.forward)).size, 3)
    assert.equal(
      contributionOf('fixed', one, 9, moments)!.forward, contributionOf('fixed', new Map(one), 5, moments)!.forward
    )
  })

  it('survives its file to the last bit, beside the bank itself', () => {
    const given = contribution(7, 3)
    const bank = randomBank({ layers: LAYERS }, 4)
    const { tensors, metadata } = contributionParts(given)
    const file = serializeBankSafetensors(bank, new Map(metadata), tensors)
    const read = parseContribution(file, LAYERS)
    assert.deepEqual({ forward: read.forward, images: read.images }, { forward: given.forward, images: 7 })
    assert.deepEqual([...read.moments], [...given.moments])
  })

  it('may be of some layers only', () => {
    const given = contribution(7, 3)
    const some = { ...given, moments: new Map([...given.moments].slice(1)) }
    assert.deepEqual([...parseContribution(fileOf(some), LAYERS).moments.keys()], ['b.bn'])
  })

  it('makes the bank whose statistics are its own and whose gamma and beta are the base\'s', () => {
    const given = contribution(7, 3)
    const some = { ...given, moments: new Map([...given.moments].slice(1)) }
    const base = randomBank({ layers: LAYERS }, 5)
    const bank = bankOf(some, LAYERS, base)
    assert.deepEqual(bank.get('a'), base.get('a'), 'a layer without sums stays')
    const sums = some.moments.get('b.bn')!
    const { mean, variance, gamma, beta } = bank.get('b.bn')!
    assert.deepEqual(mean, Float32Array.from(sums.mean))
    assert.deepEqual(variance, Float32Array.from(varianceOf(sums)))
    assert.deepEqual([gamma, beta], [base.get('b.bn')!.gamma, base.get('b.bn')!.beta])
  })
})

describe('a file without usable sums is refused', () => {
  const broken = (file: Uint8Array) => {
    assert.throws(() => parseContribution(file, LAYERS), hasCode('CONTRIBUTION_MISSING', {
      expected: 'a bank calibrated in mode fixed or fvcore'
    }))
  }
  const given = contribution(7, 3)
  const { tensors, metadata } = contributionParts(given)
  const f64 = (name: string, ...values: number[]): TensorToWrite => {
    return { name, dtype: 'F64', shape: [values.length], bytes: new Uint8Array(Float64Array.from(values).buffer) }
  }
  const replaced = (tensor: TensorToWrite) => fileOf(given, (all) => all.map((one) => one.name === tensor.name ? tensor : one))

  it('a bank that was not calibrated', () => {
    broken(serializeBankSafetensors(randomBank({ layers: LAYERS }, 1), new Map()))
  })

  it('sums of layers that the model does not have', () => {
    const foreign = new Map([...given.moments].map(([key, moments]) => [`other.${key}`, moments]))
    broken(fileOf({ ...given, moments: foreign }))
  })

  for (const [what, text] of [
    ['no JSON', '{"forward":'], ['null', 'null'], ['no forward', '{"images": 3}'], ['a forward that is no text', '{"forward": 1, "images": 3}'],
    ['no images', '{"forward": "f"}'], ['no image at all', '{"forward": "f", "images": 0}'],
    ['half an image', '{"forward": "f", "images": 2.5}'], ['more than can be counted', '{"forward": "f", "images": 1e300}']
  ] as const) {
    it(`a description with ${what}`, () => broken(serializeSafetensors(tensors, new Map([[metadata[0]![0], text]]))))
  }

  it('no description', () => broken(serializeSafetensors(tensors, new Map())))

  for (const suffix of ['mean', 'squares', 'count']) {
    it(`${suffix} is missing of one layer`, () => {
      broken(fileOf(given, (all) => all.filter(({ name }) => name !== `a.sums.${suffix}`)))
    })
  }

  for (const [what, tensor] of [
    ['one mean too few', f64('a.sums.mean', 1)], ['one square too many', f64('a.sums.squares', 1, 2, 3)],
    ['two counts', f64('a.sums.count', 3, 3)], ['a mean that is infinite', f64('a.sums.mean', 1, Infinity)],
    ['a mean that is none', f64('a.sums.mean', NaN, 1)], ['a negative square', f64('a.sums.squares', 1, -1e-9)],
    ['a square that is none', f64('a.sums.squares', NaN, 1)], ['an infinite square', f64('a.sums.squares', 1, Infinity)],
    ['a count of nothing', f64('a.sums.count', 0)], ['a negative count', f64('a.sums.count', -4)],
    ['a broken count', f64('a.sums.count', 4.5)], ['a count beyond exact numbers', f64('a.sums.count', 2 ** 60)]
  ] as const) {
    it(what, () => broken(replaced(tensor)))
  }
})

describe('combining', () => {
  const near = (a: Moments, b: Moments, tolerance: number) => {
    assert.equal(a.count, b.count)
    for (let channel = 0; channel < a.mean.length; channel++) {
      assert.ok(Math.abs(a.mean[channel]! - b.mean[channel]!) <= tolerance, `mean ${a.mean[channel]} ${b.mean[channel]}`)
      const [x, y] = [varianceOf(a)[channel]!, varianceOf(b)[channel]!]
      assert.ok(Math.abs(x - y) <= tolerance * Math.max(1, y), `variance ${x} ${y}`)
    }
  }

  it('merges in any order, and gives back what was there when a part is taken out', () => {
    fc.assert(fc.property(fc.integer({ min: 2, max: 40 }), fc.integer({ min: 2, max: 40 }), fc.nat(1000), (m, n, seed) => {
      const [one, other] = [contribution(m, seed), contribution(n, seed + 1)]
      const merged = combine('merge', one, other, 2)
      const mirrored = combine('merge', other, one, 2)
      const left = combine('subtract', merged, other, 2)
      assert.deepEqual([merged.images, mirrored.images, left.images], [m + n, m + n, m])
      assert.equal(left.forward, one.forward)
      for (const [key, moments] of one.moments) {
        near(merged.moments.get(key)!, mirrored.moments.get(key)!, 1e-12)
        near(left.moments.get(key)!, moments, 1e-10)
      }
    }), { seed: runSeed, numRuns: 50 })
  })

  it('changes neither of its arguments', () => {
    const [one, other] = [contribution(5, 1), contribution(6, 2)]
    const before = structuredClone([...one.moments, ...other.moments])
    for (const operation of OPERATIONS) combine(operation, operation === 'merge' ? one : combine('merge', one, other, 2), other, 2)
    assert.deepEqual([...one.moments, ...other.moments], before)
  })

  it('refuses sums of another forward, or of other layers, and tells both', () => {
    const one = contribution(5, 1)
    for (const operation of OPERATIONS) {
      const other = contribution(4, 2, { forward: 'fvcore under base' })
      assert.throws(() => combine(operation, one, other, 2), hasCode('CONTRIBUTION_MISMATCH', {
        expected: 'fixed under base, 2 layers', received: 'fvcore under base, 2 layers'
      }))
      const fewer = { ...one, moments: new Map([...one.moments].slice(1)) }
      assert.throws(() => combine(operation, one, fewer, 2), hasCode('CONTRIBUTION_MISMATCH', { received: 'fixed under base, 1 layers' }))
      assert.throws(() => combine(operation, fewer, one, 2), hasCode('CONTRIBUTION_MISMATCH'))
      const renamed = { ...one, moments: new Map([...one.moments].map(([key, moments]) => [`${key}x`, moments])) }
      assert.throws(() => combine(operation, one, renamed, 2), hasCode('CONTRIBUTION_MISMATCH'))
    }
  })

  it('lets nobody add, or take out, so few images that they could be told', () => {
    const [large, small] = [contribution(20, 1), contribution(3, 2)]
    const few = (operation: 'merge' | 'subtract', a: Contribution, b: Contribution, minimum: number, received: number) => {
      assert.throws(() => combine(operation, a, b, minimum), hasCode('CALIBRATION_TOO_FEW_IMAGES', {
        expected: `at least ${minimum} images`, received
      }))
    }
    few('merge', large, small, 4, 3)
    few('merge', small, large, 4, 3)
    const merged = combine('merge', large, small, 3)
    few('subtract', merged, small, 4, 3)
    few('subtract', merged, large, 4, 3)
    few('subtract', small, large, 2, 0)
    few('subtract', large, large, 2, 0)
    assert.equal(combine('subtract', merged, large, 3).images, 3)
  })

  it('takes nothing out of which no values would be left, whatever the images say', () => {
    const whole = contribution(20, 1)
    const part = { ...contribution(20, 1), images: 5 }
    assert.throws(() => combine('subtract', whole, part, 2), hasCode('CALIBRATION_TOO_FEW_IMAGES'))
  })
})

describe('sites that calibrate apart', () => {
  it('come to the statistics of all their images together, and back', async () => {
    const net = await readCalibrationGolden('residual')
    const base = ownBankOf(net.model)
    const layers = [...base].map(([key, { mean }]) => ({ key, channels: mean.length, epsilon: 1e-5 }))
    const site = async (rows: number[]): Promise<{ bank: Bank, sums: Contribution }> => {
      const { bank, moments } = await calibrateNet({ ...net, images: takeRows(net.images, rows) }, { mode: 'fixed' })
      return { bank, sums: contributionOf('fixed', base, rows.length, moments)! }
    }
    const all = Array.from({ length: 23 }, (_, at) => at)
    const [left, right] = [all.slice(0, 8), all.slice(8)]
    const [a, b, together] = [await site(left), await site(right), await site(all)]
    const merged = combine('merge', a.sums, b.sums, 2)
    assert.ok(worstDifference(bankOf(merged, layers, base), together.bank) < 1e-6)
    const without = combine('subtract', together.sums, b.sums, 2)
    assert.ok(worstDifference(bankOf(without, layers, base), a.bank) < 1e-5)
    assert.ok(worstDifference(a.bank, together.bank) > 1e-3, 'the sites differ')
  })
})
