import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AlignedSlots, alignedFloats } from '#src/base/aligned-floats.js'

const CACHE_LINE_BYTES = 64

test('an aligned array begins where a memory of WebAssembly begins', () => {
  for (const length of [0, 1, 1000, 16_384, 16_385, 3_000_000]) {
    const floats = alignedFloats(length)
    assert.equal(floats.length, length)
    assert.equal(floats.byteOffset, 0)
    assert.equal(floats.buffer.byteLength % 65_536, 0, 'whole pages')
    assert.ok(floats.every((value) => value === 0))
  }
})

describe('slots', () => {
  test('begin on cache lines and share no element', () => {
    const slots = new AlignedSlots(17)
    const taken = Array.from({ length: 100 }, () => slots.take())
    for (const [at, slot] of taken.entries()) {
      assert.equal(slot.length, 17)
      assert.equal(slot.byteOffset % CACHE_LINE_BYTES, 0)
      slot.fill(at)
    }
    for (const [at, slot] of taken.entries()) assert.ok(slot.every((value) => value === at), `slot ${at}`)
    assert.equal(new Set(taken.map(({ buffer }) => buffer)).size, 1)
  })

  test('given back, are taken again', () => {
    const slots = new AlignedSlots(300_000)
    const [a, b] = [slots.take(), slots.take()]
    assert.notEqual(a.buffer, b.buffer, 'larger than a slab: a memory each')
    slots.give(a)
    assert.equal(slots.take(), a)
  })

  test('a memory without slots in use goes, but one', () => {
    const slots = new AlignedSlots(300_000)
    const [a, b, c] = [slots.take(), slots.take(), slots.take()]
    for (const slot of [a, b, c]) slots.give(slot)
    assert.equal(slots.take(), a)
    assert.ok(![b, c].includes(slots.take()), 'the others are gone')
  })
})
