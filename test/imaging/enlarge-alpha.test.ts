import assert from 'node:assert/strict'
import { test } from 'node:test'
import { canvasFor } from '#src/imaging/encode.js'
import { enlargeAlpha } from '#src/imaging/enlarge-alpha.js'
import { tilesOf } from '#src/imaging/tiles.js'
import { at, raster } from './fixtures/pictures.js'
import type { Raster } from '#src/imaging/raster.js'

function enlarged (alpha: (x: number, y: number) => number, channels: 2 | 4, scale: number, tile: number): Raster {
  const paint = (x: number, y: number, channel: number) => channel === channels - 1 ? alpha(x, y) : 99
  const source: Raster = { width: 12, height: 10, channels, data: Uint8ClampedArray.from(raster(12, 10, channels, paint)) }
  const canvas = canvasFor(source, scale)
  for (const part of tilesOf(12, 10, { tile, overlap: 1, multipleOf: 1 })) enlargeAlpha(source, canvas, part, scale)
  return canvas
}

test('even alpha stays, a ramp stays a ramp about pixel centres, colours are not touched', () => {
  for (const [channels, scale, tile] of [[2, 2, 5], [4, 3, 12], [4, 1, 4]] as const) {
    const even = enlarged(() => 77, channels, scale, tile)
    const ramp = enlarged((x, y) => 12 * x + 6 * y, channels, scale, tile)
    for (let y = 0; y < even.height; y++) {
      for (let x = 0; x < even.width; x++) {
        assert.equal(at(even, x, y, channels - 1), 77)
        assert.equal(at(even, x, y, 0), 0)
        const [centreX, centreY] = [(x + 0.5) / scale - 0.5, (y + 0.5) / scale - 0.5]
        // Keys' kernel reproduces lines, but for the rim where the edge is repeated.
        if (centreX < 1 || centreX > 10 || centreY < 1 || centreY > 8) continue
        assert.ok(Math.abs(at(ramp, x, y, channels - 1) - (12 * centreX + 6 * centreY)) <= 0.5)
      }
    }
  }
})

test('an edge is as sharp to either side, and tiles leave no trace', () => {
  const step = (x: number) => x < 6 ? 0 : 255
  const tiled = enlarged(step, 2, 2, 4)
  assert.deepEqual(tiled.data, enlarged(step, 2, 2, 12).data)
  const row = Array.from({ length: 24 }, (_, x) => at(tiled, x, 3, 1))
  assert.deepEqual(row.map((value) => 255 - value).toReversed(), row)
  assert.ok(row[11]! > 20 && row[11]! < 100, row.join())
})
