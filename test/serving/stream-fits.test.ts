import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FitWindow, LAST } from '#src/drift/fit-window.js'
import { IDLE_MS } from '#src/drift/stream-table.js'
import { CALLER_STREAMS_MAX, StreamFits, STREAMS_MAX, type StreamPicture } from '#src/serving/recognising/stream-fits.js'
import { deviationsOf, makeSignature, scoreOf, type Signature } from '#src/signature/signature.js'
import { seededNormal } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'

const FIT_MIN = 0.005
const camera = { caller: 'address 10.0.0.1', stream: 'camera-7' }
const normal = seededNormal(runSeed)
const features = (centre = 0) => Float64Array.from({ length: 4 }, () => centre + normal())
const make = () => makeSignature(Array.from({ length: 1000 }, () => features()), { stem: 'stem', preparation: '' })
const signature = make()

/** A picture that looks like day but is none, unless said otherwise. */
function strange (given: Partial<StreamPicture> = {}, its: Signature = signature): StreamPicture {
  const picture = {
    settled: 'day', nearest: 'day', signatureOf: () => its, features: features(1.5), values: Float32Array.from(features()), at: 0, ...given
  }
  return { ...picture, score: scoreOf(its, picture.features) }
}

function unfit (fits: StreamFits, sender = camera): void {
  for (let at = 0; at <= LAST; at++) fits.see('m', sender, strange())
  assert.ok(fits.see('m', sender, strange()) < FIT_MIN, `seed ${runSeed}`)
}

test('a stream is its caller\'s and its model\'s own', () => {
  const fits = new StreamFits(FIT_MIN)
  unfit(fits)
  assert.ok(fits.see('m', { ...camera, caller: 'key other' }, strange()) > FIT_MIN)
  assert.ok(fits.see('other', camera, strange()) > FIT_MIN)
  assert.ok(fits.see('m', camera, strange()) < FIT_MIN)
})

test('all pictures count for the domain that the stream is settled on, also odd ones and those without a vote', () => {
  for (const odd of [{}, { nearest: 'night' }, { settled: undefined }, { settled: undefined, nearest: 'night' }]) {
    const fits = new StreamFits(FIT_MIN)
    const window = new FitWindow(signature)
    // What settles the stream was chosen for what it looks like.
    assert.equal(fits.see('m', camera, strange()), 1)
    for (let at = 0; at < LAST; at++) {
      const picture = strange(odd)
      const { score, features: seen, values } = picture
      window.add({ score, z: deviationsOf(signature, seen), values })
      assert.equal(fits.see('m', camera, { ...picture, ...(odd.nearest === undefined ? {} : { score: NaN }) }), window.p)
    }
    assert.ok(window.p < FIT_MIN, `seed ${runSeed}`)
  }
})

test('a domain without a signature says nothing', () => {
  const fits = new StreamFits(FIT_MIN)
  for (let at = 0; at < 2 * LAST; at++) assert.equal(fits.see('m', camera, strange({ signatureOf: () => undefined })), 1)
})

test('after a silence a stream begins anew', () => {
  const fits = new StreamFits(FIT_MIN)
  unfit(fits)
  assert.ok(fits.see('m', camera, strange({ at: IDLE_MS - 1 })) < FIT_MIN)
  assert.ok(fits.see('m', camera, strange({ at: 2 * IDLE_MS - 1 })) > FIT_MIN)
})

test('another domain, or another signature of it, begins anew', () => {
  const fits = new StreamFits(FIT_MIN)
  unfit(fits)
  assert.ok(fits.see('m', camera, strange({ settled: 'night', nearest: 'night' })) > FIT_MIN)
  unfit(fits)
  assert.ok(fits.see('m', camera, strange({}, make())) > FIT_MIN)
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
