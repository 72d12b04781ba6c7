import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Streams } from '#src/serving/recognising/streams.js'

const camera = { caller: 'address 10.0.0.1', stream: 'camera-7' }

test('most of the last pictures decide, and of equally many the latest', () => {
  const streams = new Streams({ last: 3, streams: 10 })
  const answers = ['day', 'night', 'day', 'night', 'night', 'day', 'day'].map((domain) => streams.settle('m', camera, domain))
  assert.deepEqual(answers, ['day', 'night', 'day', 'night', 'night', 'night', 'day'])
})

test('a stream is its caller\'s and its model\'s own', () => {
  const streams = new Streams({ last: 5, streams: 10 })
  for (let at = 0; at < 5; at++) streams.settle('m', camera, 'night')
  assert.equal(streams.settle('m', { ...camera, caller: 'key other' }, 'day'), 'day')
  assert.equal(streams.settle('other', camera, 'day'), 'day')
  assert.equal(streams.settle('m', camera, 'day'), 'night')
})

test('a million streams of one caller make nobody else\'s forgotten, and memory stays bounded', () => {
  const streams = new Streams({ last: 5, streams: 20 })
  for (let at = 0; at < 3; at++) streams.settle('m', camera, 'night')
  for (let at = 0; at < 1_000_000; at++) streams.settle('m', { caller: 'hostile', stream: `s${at}` }, 'day')
  assert.equal(streams.size, 21)
  assert.equal(streams.settle('m', camera, 'day'), 'night')
  for (let at = 0; at < 3000; at++) streams.settle('m', { caller: `caller ${at}`, stream: 's' }, 'day')
  assert.ok(streams.size <= 1024 * 20)
})
