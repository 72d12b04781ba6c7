import assert from 'node:assert/strict'
import { test } from 'node:test'
import { finish } from '#src/base/slices.js'
import { contactSheet, sheetSize } from '#src/imaging/contact-sheet.js'
import { pixelAt, raster } from './fixtures/pictures.js'
import type { Raster } from '#src/imaging/raster.js'

const picture = (channels: 1 | 3, value: number): Raster => {
  const [width, height] = [4, 3]
  return { width, height, channels, data: Uint8ClampedArray.from(raster(width, height, channels, (x, y, channel) => value + 10 * x + y + channel)) }
}

test('pictures stand side by side with white between', () => {
  const sheet = finish(contactSheet([picture(3, 0), picture(3, 100)]))
  assert.deepEqual([sheet.width, sheet.height, sheet.channels], [16, 3, 3])
  assert.deepEqual(sheetSize(2, picture(3, 0)), { width: 16, height: 3 })
  for (let y = 0; y < 3; y++) {
    for (let x = 0; x < 4; x++) {
      assert.deepEqual(pixelAt(sheet, x, y), pixelAt(picture(3, 0), x, y))
      assert.deepEqual(pixelAt(sheet, x + 12, y), pixelAt(picture(3, 100), x, y))
    }
    for (let x = 4; x < 12; x++) assert.deepEqual(pixelAt(sheet, x, y), [255, 255, 255])
  }
})

test('a grey picture among coloured ones is grey in colour, and one alone is the sheet', () => {
  const sheet = finish(contactSheet([picture(3, 0), picture(1, 50)]))
  assert.deepEqual([sheet.channels, pixelAt(sheet, 13, 2)], [3, [62, 62, 62]])
  assert.deepEqual(finish(contactSheet([picture(1, 7)])), picture(1, 7))
})

test('a sheet is laid row by row, so that others have their turn', () => {
  assert.equal([...contactSheet([picture(1, 0), picture(1, 1)])].length, 3)
})
