/** Uploads -> distinct images: pictures, archives, tensors; broken ones, copies, bounds. */
import assert from 'node:assert/strict'
import { gzipSync } from 'node:zlib'
import { describe, it } from 'node:test'
import sharp from 'sharp'
import { readImages, readTensors, type ImageSet, type ReadOptions } from '#src/calibration/read-images.js'
import type { NamedFile } from '#src/calibration/archives.js'
import type { PreprocessRules } from '#src/imaging/preprocess.js'
import { tarOf, zipOf } from '../support/archives.js'
import { hasCode } from '../support/errors.js'
import { safetensorsOf, type RawTensor } from '../support/safetensors-file.js'

const SIDE = 4
const ROW_BYTES = 3 * SIDE * SIDE * 4

const rules: PreprocessRules = {
  size: { width: SIDE, height: SIDE },
  colour: 'rgb',
  layout: 'NCHW',
  mean: [0, 0, 0],
  std: [1, 1, 1],
  resize: { fit: 'fill', kernel: 'bilinear' }
}

const options = (more: Partial<ReadOptions> = {}): ReadOptions => ({
  input: { name: 'x', type: 'float32', dims: [null, 3, SIDE, SIDE] },
  rules,
  imagePixels: 10_000,
  budgetBytes: 2 ** 20,
  isStrict: false,
  isShuffled: false,
  onProgress: () => {},
  ...more
})

/** A picture of one grey, so that its first value tells which it is. */
async function grey (level: number, format: 'png' | 'webp' = 'png', side = SIDE): Promise<Buffer> {
  const create = { width: side, height: side, channels: 3 as const, background: { r: level, g: level, b: level } }
  const image = sharp({ create })
  return await (format === 'png' ? image.png() : image.webp({ lossless: true })).toBuffer()
}

const upload = (name: string, bytes: Uint8Array): NamedFile => ({ name, bytes })

/** The greys that were read, in order. */
function levels ({ images }: ImageSet): number[] {
  const { data, dims } = images.x!
  assert.deepEqual(dims.slice(1), [3, SIDE, SIDE])
  assert.equal(data.length, dims[0]! * 3 * SIDE * SIDE)
  return Array.from({ length: dims[0]! }, (_, row) => Math.round(255 * (data as Float32Array)[row * 3 * SIDE * SIDE]!))
}

describe('pictures', () => {
  it('come one after another, out of archives too', async () => {
    const set = await readImages([
      upload('a.png', await grey(10)),
      upload('set.zip', zipOf([{ name: 'b.png', bytes: await grey(20) }, { name: 'deep/c.png', bytes: await grey(30) }])),
      upload('d.webp', await grey(40, 'webp')),
      upload('set.tar', await tarOf([{ name: 'e.png', bytes: await grey(50) }])),
      upload('set.tgz', gzipSync(await tarOf([{ name: 'f.png', bytes: await grey(60) }])))
    ], options())
    assert.deepEqual(levels(set), [10, 20, 30, 40, 50, 60])
    assert.deepEqual([set.given, set.duplicates, set.brokenCount, set.broken], [6, 0, 0, []])
  })

  it('count once by their pixels, whatever they are called and however they are written', async () => {
    const set = await readImages([
      upload('a.png', await grey(10)), upload('b.webp', await grey(10, 'webp')), upload('large.png', await grey(10, 'png', 8)),
      upload('c.png', await grey(11)), upload('a.png', await grey(10))
    ], options())
    assert.deepEqual(levels(set), [10, 11])
    assert.deepEqual([set.given, set.duplicates], [5, 3])
  })

  it('that cannot be read are named, with their reasons, and left out', async () => {
    const torn = (await grey(30)).subarray(0, 40)
    const set = await readImages([
      upload('a.png', await grey(10)),
      upload('text.png', Buffer.from('no picture at all')),
      upload('set.zip', zipOf([{ name: 'torn.png', bytes: torn }, { name: 'b.png', bytes: await grey(20) }])),
      upload('huge.png', await grey(1, 'png', 101)),
      upload('empty', new Uint8Array(0))
    ], options())
    assert.deepEqual(levels(set), [10, 20])
    assert.equal(set.given, 6)
    assert.equal(set.brokenCount, 4)
    assert.deepEqual(set.broken.map(({ name, code }) => [name, code]), [
      ['text.png', 'IMAGE_UNREADABLE'], ['set.zip/torn.png', 'IMAGE_UNREADABLE'], ['huge.png', 'IMAGE_TOO_LARGE'],
      ['empty', 'IMAGE_UNREADABLE']
    ])
    for (const { reason } of set.broken) assert.ok(reason.length > 0)
  })

  it('that cannot be read are counted beyond the first hundred, and their names cut', async () => {
    const broken = Array.from({ length: 103 }, (_, at) => upload(`${'n'.repeat(300)}${at}`, Buffer.from('none')))
    const set = await readImages([...broken, upload('a.png', await grey(1))], options())
    assert.deepEqual([set.brokenCount, set.broken.length, set.given], [103, 100, 104])
    assert.equal(set.broken[0]!.name.length, 200)
  })

  it('strictly, the first that cannot be read ends it, by name and with what was wrong', async () => {
    const uploads = [upload('a.png', await grey(10)), upload('torn.png', Buffer.from('x')), upload('b.png', Buffer.from('y'))]
    await assert.rejects(readImages(uploads, options({ isStrict: true })), hasCode('CALIBRATION_IMAGE_BROKEN', { image: 'torn.png' }))
  })

  it('in an archive in an archive are not looked for', async () => {
    const inner = zipOf([{ name: 'a.png', bytes: await grey(10) }])
    const set = await readImages([upload('outer.zip', zipOf([{ name: 'inner.zip', bytes: inner }]))], options())
    assert.deepEqual(set.broken.map(({ name }) => name), ['outer.zip/inner.zip'])
    assert.equal(set.images.x!.dims[0], 0)
  })

  it('that are none at all are an empty set', async () => {
    const { images, given, duplicates, brokenCount } = await readImages([], options())
    assert.deepEqual([given, duplicates, brokenCount, images.x!.data.length], [0, 0, 0, 0])
  })

  it('are shuffled by their pixels: in the same order wherever they came from', async () => {
    const greys = [1, 2, 3, 4, 5, 6, 7, 8]
    const uploads = await Promise.all(greys.map(async (level) => upload(`${level}`, await grey(level))))
    const forwards = levels(await readImages(uploads, options({ isShuffled: true })))
    const backwards = levels(await readImages(uploads.toReversed(), options({ isShuffled: true })))
    assert.deepEqual(forwards, backwards)
    assert.notDeepEqual(forwards, greys)
    assert.deepEqual(forwards.toSorted((a, b) => a - b), greys)
    assert.deepEqual(levels(await readImages(uploads, options())), greys)
  })
})

describe('bounds', () => {
  it('what decoding an image holds, by its header', async () => {
    const side = 2500
    const create = { width: side, height: side, channels: 3 as const, background: '#777' }
    const interlaced = await sharp({ create }).png({ progressive: true }).toBuffer()
    const read = async (budgetBytes: number) => {
      return await readImages([upload('1', await grey(1)), upload('2', interlaced)], options({ budgetBytes, imagePixels: side * side }))
    }
    await assert.rejects(read(2 ** 20), hasCode('CALIBRATION_TOO_LARGE', { expected: `at most ${2 ** 20 - ROW_BYTES} bytes` }))
    assert.deepEqual(levels(await read(2 ** 25)), [1, 0x77])
  })

  it('as many distinct images as there is room for; copies take none', async () => {
    const greys = [await grey(1), await grey(2), await grey(3)]
    const uploads = greys.map((bytes, at) => upload(`${at}`, bytes))
    const room = options({ budgetBytes: 3 * ROW_BYTES + ROW_BYTES - 1 })
    assert.deepEqual(levels(await readImages([...uploads, ...uploads], room)), [1, 2, 3])
    await assert.rejects(readImages([...uploads, upload('4', await grey(4))], room), hasCode('CALIBRATION_TOO_LARGE', {
      expected: 'at most 3 images', received: 'more than 3'
    }))
  })

  it('an archive that unpacks to far more than a set of pictures would ends it', async () => {
    const bomb = gzipSync(await tarOf([{ name: 'a.png', bytes: new Uint8Array(17 * 2 ** 20) }]))
    assert.ok(bomb.length < 2 ** 16)
    await assert.rejects(readImages([upload('bomb.tgz', bomb)], options()), hasCode('ARCHIVE_TOO_LARGE', { archive: 'bomb.tgz' }))
    const spread = gzipSync(await tarOf(Array.from({ length: 5 }, (_, at) => ({ name: `${at}.png`, bytes: new Uint8Array(4 * 2 ** 20) }))))
    await assert.rejects(readImages([upload('bomb.tgz', spread)], options()), hasCode('ARCHIVE_TOO_LARGE'))
    const lying = zipOf([{ name: 'a.png', bytes: new Uint8Array(17 * 2 ** 20) }])
    await assert.rejects(readImages([upload('bomb.zip', lying)], options()), hasCode('ARCHIVE_TOO_LARGE'))
  })

  it('names that would leave a folder end it, although nothing is written', async () => {
    const bytes = zipOf([{ name: '../a.png', bytes: await grey(1) }])
    await assert.rejects(readImages([upload('set.zip', bytes)], options()), hasCode('ARCHIVE_NAME_REFUSED'))
  })
})

describe('progress of reading', () => {
  it('is told before every image and after every upload, and rises to 1', async () => {
    const told: number[] = []
    await readImages([
      upload('a.png', await grey(1)),
      upload('set.zip', zipOf([{ name: 'b.png', bytes: await grey(2) }, { name: 'c.png', bytes: await grey(3) }]))
    ], options({ onProgress: (share) => { told.push(share) } }))
    assert.deepEqual(told, [0, 0.5, 0.5, 0.5, 1])
  })

  it('ends the reading by what it throws', async () => {
    const reason = new Error('cancelled')
    let count = 0
    const reading = readImages([upload('a.png', await grey(1)), upload('b.png', await grey(2))], options({
      onProgress: () => { if (++count === 3) throw reason }
    }))
    await assert.rejects(reading, reason)
    assert.equal(count, 3)
  })
})

describe('tensors', () => {
  const floats = (shape: number[], value: (at: number) => number): RawTensor => {
    const length = shape.reduce((product, size) => product * size, 1)
    return { dtype: 'F32', shape, bytes: new Uint8Array(Float32Array.from({ length }, (_, at) => value(at)).buffer) }
  }
  const shape = (images: number) => [images, 3, SIDE, SIDE]
  const area = 3 * SIDE * SIDE

  it('are images first, copies counted once', () => {
    const file = safetensorsOf({ x: floats(shape(4), (at) => [1, 2, 1, 3][Math.floor(at / area)]! / 255) })
    const set = readTensors(file, options())
    assert.deepEqual(levels(set), [1, 2, 3])
    assert.deepEqual([set.given, set.duplicates, set.brokenCount], [4, 1, 0])
  })

  it('may be of 16 or 64 bits', () => {
    const half = { dtype: 'F16', shape: shape(1), bytes: new Uint8Array(new Uint16Array(area).fill(0x3c00).buffer) }
    assert.deepEqual(levels(readTensors(safetensorsOf({ x: half }), options())), [255])
    const double = { dtype: 'F64', shape: shape(1), bytes: new Uint8Array(new Float64Array(area).fill(1).buffer) }
    assert.deepEqual(levels(readTensors(safetensorsOf({ x: double }), options())), [255])
  })

  it('may have any size where the input leaves it open', () => {
    const open = options({ input: { name: 'x', type: 'float32', dims: [null, 3, null, null] } })
    const set = readTensors(safetensorsOf({ x: floats([2, 3, 2, 5], (at) => at) }), open)
    assert.deepEqual(set.images.x!.dims, [2, 3, 2, 5])
  })

  for (const [what, tensors, received] of [
    ['another name', { y: floats(shape(2), () => 0) }, ['"y" [2, 3, 4, 4]']],
    ['a second tensor', { x: floats(shape(1), () => 0), y: floats([1], () => 0) }, ['"x" [1, 3, 4, 4]', '"y" [1]']],
    ['other channels', { x: floats([2, 1, 4, 4], () => 0) }, ['"x" [2, 1, 4, 4]']],
    ['another size', { x: floats([2, 3, 4, 5], () => 0) }, ['"x" [2, 3, 4, 5]']],
    ['no axis of images', { x: floats([3, 4, 4], () => 0) }, ['"x" [3, 4, 4]']],
    ['no images', { x: floats(shape(0), () => 0) }, ['"x" [0, 3, 4, 4]']],
    ['nothing', {}, []]
  ] as Array<[string, Record<string, RawTensor>, string[]]>) {
    it(`of ${what} are refused, with what is there`, () => {
      assert.throws(() => readTensors(safetensorsOf(tensors), options()), hasCode('CALIBRATION_TENSORS_INVALID', {
        expected: '"x" [images, 3, 4, 4]', received
      }))
    })
  }

  it('beyond the room for them are refused', () => {
    const file = safetensorsOf({ x: floats(shape(3), (at) => Math.floor(at / area)) })
    assert.throws(() => readTensors(file, options({ budgetBytes: 2 * ROW_BYTES })), hasCode('CALIBRATION_TOO_LARGE', {
      expected: 'at most 2 images'
    }))
  })

  it('that are no safetensors are refused', () => {
    assert.throws(() => readTensors(Buffer.from('nothing of the kind'), options()), (error: Error & { code?: string }) => {
      return error.code?.startsWith('SAFETENSORS_') === true
    })
  })
})
