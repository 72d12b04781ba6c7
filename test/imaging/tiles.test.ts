import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { axisTiles, tileCount, tilesOf, type Tiling } from '#src/imaging/tiles.js'
import { runSeed } from '../support/run-seed.js'

const tilings: fc.Arbitrary<Tiling> = fc.record({
  multipleOf: fc.integer({ min: 1, max: 8 }), overlap: fc.integer({ min: 0, max: 20 }), extra: fc.integer({ min: 0, max: 5 })
}).map(({ multipleOf, overlap, extra }) => {
  return { multipleOf, overlap, tile: multipleOf * (Math.ceil((2 * overlap + multipleOf) / multipleOf) + extra) }
})

test('cores are a partition, far enough from edges that are not the picture\'s; windows are aligned and fit', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 500 }), tilings, (length, tiling) => {
    const { tile, overlap, multipleOf } = tiling
    const tiles = axisTiles(length, tiling)
    let end = 0
    for (const { window, core } of tiles) {
      assert.equal(core.begin, end)
      assert.ok(core.begin < core.end)
      end = core.end
      assert.ok(window.begin >= 0 && window.end - window.begin <= tile)
      assert.ok(window.end < length + multipleOf, 'padding is less than one step')
      assert.equal(window.begin % multipleOf, 0)
      assert.equal((window.end - window.begin) % multipleOf, 0)
      assert.ok(window.begin === 0 || core.begin - window.begin >= overlap)
      assert.ok(window.end >= length || window.end - core.end >= overlap)
      assert.ok(window.begin <= core.begin && core.end <= window.end)
    }
    assert.equal(end, length)
    assert.equal(new Set(tiles.map(({ window }) => window.end - window.begin)).size, 1, 'one length')
  }), { seed: runSeed, numRuns: 2000 })
})

test('there are no more tiles than it takes', () => {
  const tiling = { tile: 10, overlap: 2, multipleOf: 1 }
  // The first and last windows give 8, those between 6.
  for (const [length, count] of [[1, 1], [10, 1], [11, 2], [16, 2], [17, 3], [22, 3], [23, 4]] as const) {
    assert.equal(axisTiles(length, tiling).length, count, String(length))
  }
})

test('tiles come row by row and are as many as counted', () => {
  const tiling = { tile: 8, overlap: 2, multipleOf: 2 }
  const tiles = [...tilesOf(20, 13, tiling)]
  assert.equal(tiles.length, tileCount(20, 13, tiling))
  const order = tiles.map(({ x, y }) => y.core.begin * 20 + x.core.begin)
  assert.deepEqual(order, order.toSorted((a, b) => a - b))
  const covered = tiles.reduce((sum, { x, y }) => sum + (x.core.end - x.core.begin) * (y.core.end - y.core.begin), 0)
  assert.equal(covered, 20 * 13)
})
