import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import {
  calibrateNet, GOLDEN_NETS, goldenStatistics, ownBankOf, readCalibrationGolden, takeRows, worstDifference, type Net
} from '../support/calibration.js'
import type { Bank } from '#src/bank/bank.js'

/** PyTorch's own float32 kernels differ among themselves by as much. */
const PYTORCH_TOLERANCE = 1e-5

/** Statistics are stored as float32; the rest is the rounding of float32 forward runs, averaged over many values. */
const EXACT_TOLERANCE = 1e-6

const CASES = [
  { golden: 'torch', options: { mode: 'torch' }, tolerance: PYTORCH_TOLERANCE },
  { golden: 'ema', options: { mode: 'ema', momentum: 0.1 }, tolerance: PYTORCH_TOLERANCE },
  { golden: 'cumulative', options: { mode: 'ema', momentum: null, fresh: true }, tolerance: PYTORCH_TOLERANCE },
  { golden: 'fvcore', options: { mode: 'fvcore' }, tolerance: PYTORCH_TOLERANCE },
  { golden: 'fixed', options: { mode: 'fixed' }, tolerance: EXACT_TOLERANCE },
  { golden: 'sequential', options: { mode: 'sequential' }, tolerance: EXACT_TOLERANCE }
]

for (const name of GOLDEN_NETS) {
  describe(`calibration of the ${name} net`, () => {
    let net: Net
    before(async () => { net = await readCalibrationGolden(name) })

    for (const { golden, options, tolerance } of CASES) {
      it(`${golden}: equals PyTorch on batches of 8, 8 and 7 images to ${tolerance}`, async () => {
        const { bank } = await calibrateNet(net, { ...options, batchSize: 8 })
        const difference = worstDifference(bank, goldenStatistics(net, golden))
        assert.ok(difference <= tolerance, `differs by ${difference}`)
      })
    }

    it('sequential: changes by less than 1e-6 with batch size and order', async () => {
      const { bank } = await calibrateNet(net, { batchSize: 8 })
      const backwards = takeRows(net.images, Array.from({ length: 23 }, (_, at) => 22 - at))
      for (const batchSize of [1, 7, 64]) {
        for (const images of [net.images, backwards]) {
          const other = await calibrateNet({ ...net, images }, { batchSize })
          assert.ok(worstDifference(other.bank, bank) <= EXACT_TOLERANCE, `${batchSize}: ${worstDifference(other.bank, bank)}`)
        }
      }
    })

    it('sequential: the same without room for activations, at the cost of more runs', async () => {
      const roomy = await calibrateNet(net)
      const { byteLength } = net.images.input!.data as Float32Array
      const cramped = await calibrateNet(net, {}, { budgetBytes: byteLength })
      assert.ok(worstDifference(cramped.bank, roomy.bank) <= EXACT_TOLERANCE)
      assert.equal(roomy.report.forwardRuns, 1)
      assert.ok(cramped.report.forwardRuns > 1.5, `${cramped.report.forwardRuns}`)
    })

    it('sequential: as many rounds of `fixed` as there are levels come to the same', async () => {
      const { bank } = await calibrateNet(net)
      let base = (await calibrateNet(net, { mode: 'fixed' })).bank
      const rounds = name === 'residual' ? 5 : 4
      for (let round = 1; round < rounds; round++) {
        assert.ok(worstDifference(base, bank) > 1e-4, `round ${round} is not there yet`)
        base = (await calibrateNet(net, { mode: 'fixed' }, { base })).bank
      }
      assert.ok(worstDifference(base, bank) <= EXACT_TOLERANCE)
    })

    it('adapts only the layers it is told to, under the statistics of the others', async () => {
      const own = ownBankOf(net.model)
      const [first, ...others] = [...own.keys()] as [string, ...string[]]
      const only = (bank: Bank) => new Map([[first, bank.get(first)!]])
      // What the first layer sees depends on no statistics at all, so that every pooled mode agrees on it.
      const expected = only((await calibrateNet(net, { mode: 'fixed' })).bank)
      for (const mode of ['sequential', 'fvcore', 'fixed']) {
        const { bank, report } = await calibrateNet(net, { mode, layers: [first] })
        assert.deepEqual(report.layers.map(({ layer }) => layer), [first])
        assert.ok(worstDifference(only(bank), expected) <= EXACT_TOLERANCE)
        assert.ok(worstDifference(only(bank), only(own)) > 1e-3)
        for (const other of others) assert.deepEqual(bank.get(other), own.get(other))
      }
    })
  })
}
