/** Banks, pictures and archives from strangers. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import sharp from 'sharp'
import { parseBankJson } from '#src/bank/formats/bank-json.js'
import { parseBankNpz } from '#src/bank/formats/bank-npz.js'
import { parseBankSafetensors } from '#src/bank/formats/bank-safetensors.js'
import { parseSafetensors } from '#src/bank/formats/safetensors.js'
import { archivedFiles, type ArchiveKind } from '#src/calibration/archives.js'
import { decodeImage } from '#src/imaging/decode.js'
import { zipOf, tarOf } from '../support/archives.js'
import { ROOT } from '../support/folders.js'
import { npyOf, npzOf } from '../support/npz-file.js'
import { shippedBank } from '../support/signs.js'
import { anyJson, fuzzing, mutated, parsesOrRefuses, trickyKey } from './fixtures/mutate.js'

const PIXELS_MAX = 100_000

describe('a bank', () => {
  it('as safetensors that was right once is parsed or refused', async () => {
    const file = await shippedBank('fog')
    const layers = [...parseSafetensors(file).tensors].filter(([name]) => name.endsWith('.running_mean'))
      .map(([name, { shape }]) => ({ key: name.replace('.running_mean', ''), channels: shape[0]!, epsilon: 1e-5 }))
    await fc.assert(fc.asyncProperty(mutated(file, file.subarray(0, 600)), async (bytes) => {
      const parsed = await parsesOrRefuses(() => parseBankSafetensors(bytes, layers as never))
      if (parsed !== undefined) assert.ok(parsed.layers.size <= bytes.length)
    }), fuzzing)
  })

  it('as safetensors of any header is parsed or refused', async () => {
    const count = fc.constantFrom(0, 1, 2, 4, 2 ** 31, 2 ** 53, -1, 0.5, 1e300)
    const entry = fc.record({
      dtype: fc.constantFrom('F32', 'F64', 'F16', 'BF16', 'I64', 'toString', ''),
      shape: fc.oneof(fc.array(count, { maxLength: 3 }), anyJson),
      data_offsets: fc.oneof(fc.tuple(count, count), anyJson)
    })
    const header = fc.dictionary(fc.oneof(fc.constantFrom('a.running_mean', 'a.running_var', '__metadata__'), trickyKey), fc.oneof(entry, anyJson), { maxKeys: 4 })
    const length = fc.oneof(fc.constant(undefined), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }))
    await fc.assert(fc.asyncProperty(header, fc.uint8Array({ maxLength: 32 }), length, async (json, body, claimed) => {
      const text = Buffer.from(JSON.stringify(json))
      const prefix = Buffer.alloc(8)
      prefix.writeBigUInt64LE(claimed ?? BigInt(text.length))
      await parsesOrRefuses(() => parseBankSafetensors(Buffer.concat([prefix, text, body]), []))
    }), fuzzing)
  })

  it('as npz that was right once is parsed within its bounds or refused', async () => {
    const originals = await Promise.all(['stored', 'deflated', 'piped', 'pickled'].map((name) => readFile(join(ROOT, `test/golden/bank-${name}.npz`))))
    await fc.assert(fc.asyncProperty(mutated(...originals), async (bytes) => {
      const parsed = await parsesOrRefuses(() => parseBankNpz(bytes, []))
      const values = [...parsed?.layers.values() ?? []].flatMap((layer) => Object.values(layer))
      assert.ok(values.reduce((sum, { length }) => sum + length, 0) <= 16 * 2 ** 20)
    }), fuzzing)
  })

  it('as npz of any array is parsed or refused', async () => {
    const literal = fc.oneof(
      fc.constantFrom("'<f4'", "'|O'", "'>f2'", 'True', 'False', '()', '(2,)', '(1, 2)', '(0,)', '(99999999999999999999,)', '[', '}', '{', "'", ','),
      fc.string()
    )
    const header = fc.array(fc.tuple(fc.constantFrom("'descr'", "'fortran_order'", "'shape'", 'shape', ''), literal), { maxLength: 4 })
      .map((fields) => `{${fields.map(([name, value]) => `${name}: ${value}, `).join('')}}`)
    const array = fc.record({
      header: fc.oneof(header, fc.constant(undefined)), descr: literal, order: literal, shape: literal, data: fc.uint8Array({ maxLength: 16 })
    }).map(({ header: whole, ...parts }) => npyOf(whole === undefined ? parts : { ...parts, header: whole }))
    const name = fc.oneof(fc.constantFrom('a.running_mean', 'a.running_var'), trickyKey, fc.string())
    await fc.assert(fc.asyncProperty(fc.dictionary(name, fc.oneof(array, fc.uint8Array({ maxLength: 20 }))), async (arrays) => {
      await parsesOrRefuses(() => parseBankNpz(npzOf(arrays), []))
    }), fuzzing)
  })

  it('as JSON is parsed or refused', async () => {
    const statistics = fc.dictionary(fc.oneof(fc.constantFrom('mean', 'variance', 'gamma', 'beta'), trickyKey), anyJson, { maxKeys: 4 })
    const layers = fc.oneof(fc.dictionary(fc.oneof(fc.string(), trickyKey), statistics, { maxKeys: 3 }), anyJson)
    const bank = fc.record({ description: anyJson, preprocessing: anyJson, layers }, { requiredKeys: [] })
    const right = Buffer.from('{"description":"é","layers":{"bn1":{"mean":[0,1.5,-2e3],"variance":[1,NaN,Infinity]}}}')
    const text = bank.map((value) => Buffer.from(JSON.stringify(value)))
    await fc.assert(fc.asyncProperty(fc.oneof(text, mutated(right)), async (bytes) => {
      await parsesOrRefuses(() => parseBankJson(bytes))
    }), fuzzing)
  })
})

describe('a picture', () => {
  it('that was right once is decoded within its bounds or refused', async () => {
    const png = await readFile(join(ROOT, 'models/traffic-signs/samples/lowlight-speed-limit-100.png'))
    const picture = sharp({ create: { width: 40, height: 30, channels: 3, background: '#a50' } })
    const originals = [png, await picture.clone().jpeg().toBuffer(), await picture.clone().webp().toBuffer()]
    await fc.assert(fc.asyncProperty(mutated(...originals), async (bytes) => {
      const pixels = await parsesOrRefuses(() => decodeImage(bytes, { pixelsMax: PIXELS_MAX, isGrey: false }))
      if (pixels === undefined) return
      assert.ok(pixels.width * pixels.height <= PIXELS_MAX)
      assert.equal(pixels.data.length, pixels.width * pixels.height * pixels.channels)
    }), fuzzing)
  })
})

describe('an archive', () => {
  it('that was right once is unpacked within its bounds or refused', async () => {
    const files = [{ name: 'a.png', bytes: Buffer.alloc(600, 7) }, { name: 'b/c.png', bytes: Buffer.alloc(90, 1) }]
    const tar = await tarOf(files)
    const kinds: Array<[ArchiveKind, Uint8Array]> = [['zip', zipOf(files)], ['tar', tar], ['tar.gz', gzipSync(tar)]]
    const limits = { entries: 4, entryBytes: 1000, totalBytes: 2000 }
    for (const [kind, original] of kinds) {
      await fc.assert(fc.asyncProperty(mutated(original), async (bytes) => {
        let total = 0
        await parsesOrRefuses(async () => {
          for await (const file of archivedFiles({ name: 'x', bytes }, kind, limits)) total += file.bytes.length
        })
        assert.ok(total <= limits.totalBytes)
      }), fuzzing)
    }
  })
})
