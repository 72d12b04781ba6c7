import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LAST } from '#src/drift/fit-window.js'
import { CALLER_STREAMS_MAX, StreamFits, STREAMS_MAX } from '#src/serving/recognising/stream-fits.js'
import { makeSignature } from '#src/signature/signature.js'
import { seededNormal } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'

const FIT_MIN = 0.005
const camera = { caller: 'address 10.0.0.1', stream: 'camera-7' }
const normal = seededNormal(runSeed)
const features = (centre = 0) => Float64Array.from({ length: 4 }, () => centre + normal())
const make = () => makeSignature(Array.from({ length: 1000 }, () => features()), { stem: 'stem', preparation: '' })
const signature = make()

/** A picture that looks like day but is none, unless said otherwise. */
const strange = (given: Partial<Parameters<StreamFits['see']>[2]> = {}) => ({
  settled: 'day', nearest: 'day', signature, features: features(1.2), values: Float32Array.from(features()), at: 0, ...given
})

function unfit (fits: StreamFits, sender = camera): void {
  for (let at = 0; at < LAST; at++) fits.see('m', sender, strange())
  assert.ok(fits.see('m', sender, strange()) < FIT_MIN, `seed ${runSeed}`)
}

test('a stream is its caller\'s and its model\'s own', () => {
  const fits = new StreamFits(FIT_MIN)
  unfit(fits)
  assert.ok(fits.see('m', { ...camera, caller: 'key other' }, strange()) > FIT_MIN)
  assert.ok(fits.see('other', camera, strange()) > FIT_MIN)
  assert.ok(fits.see('m', camera, strange()) < FIT_MIN)
})

test('odd pictures say nothing of the domain that the stream is settled on, those without a vote do', () => {
  const fits = new StreamFits(FIT_MIN)
  fits.see('m', camera, strange())
  const before = fits.see('m', camera, strange({ nearest: 'night' }))
  for (let at = 0; at < LAST; at++) assert.equal(fits.see('m', camera, strange({ nearest: 'night', features: features(5) })), before)
  for (let at = 0; at < LAST; at++) fits.see('m', camera, strange({ settled: undefined, features: features(2) }))
  assert.ok(fits.see('m', camera, strange({ nearest: 'night' })) < FIT_MIN)
})

test('another domain, or another signature of it, begins anew', () => {
  const fits = new StreamFits(FIT_MIN)
  unfit(fits)
  assert.ok(fits.see('m', camera, strange({ settled: 'night', nearest: 'night' })) > FIT_MIN)
  unfit(fits)
  assert.ok(fits.see('m', camera, strange({ signature: make() })) > FIT_MIN)
})

test('a hundred thousand streams of one caller make nobody else\'s forgotten, and memory stays bounded', () => {
  const fits = new StreamFits(FIT_MIN)
  unfit(fits)
  const picture = strange()
  for (let at = 0; at < 100_000; at++) fits.see('m', { caller: 'hostile', stream: `s${at}` }, picture)
  assert.ok(fits.size <= 1 + CALLER_STREAMS_MAX)
  assert.ok(fits.see('m', camera, strange()) < FIT_MIN)
  for (let at = 0; at < 2 * STREAMS_MAX; at++) fits.see('m', { caller: `caller ${at}`, stream: 's' }, picture)
  assert.equal(fits.size, STREAMS_MAX)
  assert.ok(fits.see('m', camera, strange()) < FIT_MIN)
})
