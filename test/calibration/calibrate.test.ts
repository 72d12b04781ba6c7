import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { totalVariation } from '#src/calibration/predictions.js'
import { parseModel } from '#src/onnx/model.js'
import { calibrateNet, readCalibrationGolden, takeRows, worstDifference } from '../support/calibration.js'
import { hasCode } from '../support/errors.js'
import { GraphBuilder } from '../support/graph-builder.js'
import { seededNormal } from '../support/random.js'

const SIDE = 16

/** One batch norm over the input itself, then a classifier, and images with the given pixels. */
function direct (images: number, pixel: (image: number) => number, channels = 2) {
  const g = new GraphBuilder()
  const x = g.input('x', ['batch', channels, 'h', 'w'])
  g.output(g.head(g.batchNorm(x, channels, 'bn'), channels, 3), ['batch', 3])
  const area = channels * SIDE * SIDE
  const data = Float32Array.from({ length: images * area }, (_, at) => pixel(Math.floor(at / area)))
  return { model: g.bytes(), images: { x: { type: 'float32' as const, dims: [images, channels, SIDE, SIDE], data } } }
}

describe('calibrate', () => {
  // E[x^2] - E[x]^2 in float32, fvcore's formula, gives -16 here instead of 1.
  for (const mode of ['sequential', 'fvcore', 'torch']) {
    it(`${mode}: keeps the variance of a channel whose mean is 10,000 standard deviations`, async () => {
      const normal = seededNormal(1)
      const net = direct(20, () => 1e4 + normal())
      const { bank } = await calibrateNet(net, { mode, batchSize: 7 })
      const values = [...net.images.x.data].filter((_, at) => Math.floor(at / SIDE ** 2) % 2 === 0)
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length
      const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
      // Equal weights of unequal batches differ from the pooled variance by what the batches differ.
      const tolerance = mode === 'torch' ? 5e-3 : 1e-4
      assert.ok(Math.abs(bank.get('bn')!.variance[0]! / variance - 1) < tolerance, `${bank.get('bn')!.variance[0]} ${variance}`)
    })
  }

  it('keeps a tiny variance on a large constant, where the rounding of a float32 sum does not average out', async () => {
    const normal = seededNormal(2)
    const noise = Array.from({ length: 8 }, () => normal())
    const { bank } = await calibrateNet(direct(8, (image) => 12345.678 + 0.1 * noise[image]!))
    const stored = noise.map((value) => Math.fround(12345.678 + 0.1 * value))
    const mean = stored.reduce((sum, value) => sum + value, 0) / 8
    const variance = stored.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 8
    assert.ok(Math.abs(bank.get('bn')!.variance[0]! / variance - 1) < 1e-4)
  })

  it('says that equal images are settled at once, and names the layers that are not', async () => {
    const normal = seededNormal(5)
    const calm = await calibrateNet(direct(8, () => normal()), { tolerance: 0.2 })
    assert.equal(calm.report.verdict.isSettled, true)
    assert.equal(calm.report.verdict.text, '8 images are enough')
    const brightness = Array.from({ length: 8 }, () => 3 * normal())
    const wild = await calibrateNet(direct(8, (image) => brightness[image]! + normal()), { tolerance: 0.05 })
    assert.equal(wild.report.verdict.isSettled, false)
    assert.match(wild.report.verdict.text, /^8 images are not enough: bn is not settled; about \d+ would be$/)
    assert.ok(wild.report.verdict.imagesNeeded > 100)
    assert.ok(wild.report.warnings.some(({ code }) => code === 'NOT_SETTLED'))
  })

  it('stops early on the first 64, 128, … images once all is settled', async () => {
    const normal = seededNormal(6)
    const net = direct(300, () => normal())
    const { report } = await calibrateNet(net, { stopEarly: true })
    assert.equal(report.images, 64)
    const same = await calibrateNet({ ...net, images: takeRows(net.images, Array.from({ length: 64 }, (_, at) => at)) })
    assert.ok(worstDifference(same.bank, (await calibrateNet(net, { stopEarly: true })).bank) < 1e-6)
    const brightness = Array.from({ length: 300 }, () => 3 * normal())
    const hard = await calibrateNet(direct(300, (image) => brightness[image]!), { stopEarly: true, tolerance: 1e-3 })
    assert.equal(hard.report.images, 300)
  })

  it('warns of dead channels', async () => {
    const normal = seededNormal(7)
    const net = direct(8, () => 0)
    const area = SIDE * SIDE
    for (let at = 0; at < net.images.x.data.length; at++) {
      net.images.x.data[at] = Math.floor(at / area) % 2 === 0 ? 7 : normal()
    }
    const { report, bank } = await calibrateNet(net)
    assert.equal(report.layers[0]!.deadChannels, 1)
    assert.ok(report.warnings.some(({ code }) => code === 'DEAD_CHANNELS'))
    assert.ok(bank.get('bn')!.variance[0]! < 1e-12)
  })

  it('compares predictions before and after', async () => {
    const normal = seededNormal(8)
    const net = direct(32, () => normal())
    const classOutput = parseModel(net.model).graph.output[0]!.name
    const { report } = await calibrateNet(net, {}, { classOutput })
    const { before, after, images, distance } = report.predictions!
    assert.equal(images, 32)
    for (const counts of [before, after]) assert.equal(counts.reduce((sum, count) => sum + count, 0), 32)
    assert.equal(distance, totalVariation(before, after))
  })

  it('refuses too few images, copies of one image, too many bytes, another model, unknown layers and pixels that are not finite', async () => {
    const net = await readCalibrationGolden('residual')
    const two = { ...net, images: takeRows(net.images, [0, 1]) }
    await assert.rejects(calibrateNet(two, { minimumImages: 3 }), hasCode('CALIBRATION_TOO_FEW_IMAGES', { expected: 'at least 3', received: 2 }))
    const one = { ...net, images: takeRows(net.images, [0]) }
    await assert.rejects(calibrateNet(one, {}, { duplicates: 9 }), hasCode('CALIBRATION_IMAGES_IDENTICAL'))
    await assert.rejects(calibrateNet(net, {}, { budgetBytes: 10 * 3 * 144 * 4 }), hasCode('CALIBRATION_TOO_LARGE', { expected: 'at most 10 images' }))
    await assert.rejects(calibrateNet(net, {}, { fingerprint: 'f'.repeat(64) }), hasCode('CALIBRATION_MODEL_CHANGED'))
    await assert.rejects(calibrateNet(net, { layers: ['bn1', 'nothing*'] }), hasCode('CALIBRATION_LAYER_UNKNOWN', { received: 'nothing*' }))
    const broken = takeRows(net.images, [0, 1, 2]);
    (broken.input!.data as Float32Array)[500] = NaN
    await assert.rejects(calibrateNet({ ...net, images: broken }), hasCode('CALIBRATION_NOT_FINITE'))
    await assert.rejects(
      calibrateNet({ ...(await readCalibrationGolden('pre-activation')) }, { mode: 'torch', batchSize: 1 }), hasCode('CALIBRATION_BATCH_TOO_SMALL')
    )
  })
})
