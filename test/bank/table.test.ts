/** The table of formats: what each promises, and which one is meant by a Content-Type, a name, or bytes. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { serializeBankSafetensors } from '#src/bank/formats/bank-safetensors.js'
import { BANK_FORMATS, BANK_MEDIA_TYPES, formatOfBody, formatOfFile, formatOfName } from '#src/bank/formats/table.js'
import { npyVector, npzOf } from '../support/npz-file.js'
import { f32, rawSafetensors, safetensorsOf } from '../support/safetensors-file.js'

const JSON_BANK = Buffer.from('{"layers":{"bn1":{"mean":[1,2],"variance":[3,4]}}}')
const SAFETENSORS_BANK = safetensorsOf({ 'bn1.running_mean': f32(1, 2), 'bn1.running_var': f32(3, 4) })

/** A bank of one layer in every format, with the same statistics. */
const SAMPLES: Readonly<Record<string, Uint8Array>> = {
  json: JSON_BANK,
  safetensors: SAFETENSORS_BANK,
  npz: npzOf({ 'bn1.running_mean': npyVector(1, 2), 'bn1.running_var': npyVector(3, 4) })
}

const LAYERS = [{ key: 'bn1', channels: 2, epsilon: 1e-5 }]

const nameOf = (contentType: string | undefined, bytes: Uint8Array) => formatOfBody(contentType, bytes).name

describe('every bank format', () => {
  it('has a sample here', () => {
    assert.deepEqual(BANK_FORMATS.map(({ name }) => name).toSorted(), Object.keys(SAMPLES).toSorted())
  })

  it('has a name, extensions and media types that no other has', () => {
    for (const of of ['name', 'mediaTypes', 'extensions'] as const) {
      const all = BANK_FORMATS.flatMap((format) => format[of])
      assert.equal(new Set(all).size, all.length, of)
      assert.ok(all.every((one) => one === one.toLowerCase() && one !== ''), of)
    }
    for (const { mediaTypes, extensions } of BANK_FORMATS) {
      assert.ok(mediaTypes.length > 0 && extensions.length > 0)
      assert.ok(extensions.every((extension) => extension.startsWith('.')))
    }
  })

  for (const format of BANK_FORMATS) {
    it(`${format.name} knows its own bytes, alone of all, wherever they lie in a buffer`, () => {
      const sample = SAMPLES[format.name]!
      const within = Buffer.concat([Buffer.from('{PK'), sample]).subarray(3)
      for (const bytes of [sample, within]) {
        assert.deepEqual(BANK_FORMATS.filter((one) => one.probe(bytes)).map(({ name }) => name), [format.name])
      }
      for (let length = 0; length < 8; length++) assert.doesNotThrow(() => format.probe(sample.subarray(0, length)))
    })

    it(`${format.name} gives the layers, and nothing that was not there`, async () => {
      const { layers, ignored, weights, metadata, ...rest } = await format.parse(SAMPLES[format.name]!, LAYERS)
      assert.deepEqual([...layers].map(([key, { mean, variance }]) => [key, [...mean as Float32Array], [...variance as Float32Array]]), [
        ['bn1', [1, 2], [3, 4]]
      ])
      assert.deepEqual([ignored, weights, [...metadata], rest], [[], [], [], {}])
    })
  }
})

describe('the format of a body', () => {
  it('is what the Content-Type says, whatever the bytes look like', () => {
    for (const { name, mediaTypes } of BANK_FORMATS) {
      for (const mediaType of mediaTypes.filter((one) => one !== 'application/octet-stream')) {
        for (const bytes of Object.values(SAMPLES)) {
          assert.equal(nameOf(mediaType, bytes), name)
          assert.equal(nameOf(`${mediaType.toUpperCase()} ; charset=utf-8`, bytes), name)
        }
      }
    }
  })

  it('is told from the bytes where the Content-Type leaves it open', () => {
    for (const [name, bytes] of Object.entries(SAMPLES)) {
      for (const contentType of ['application/octet-stream', undefined]) assert.equal(nameOf(contentType, bytes), name)
    }
    assert.equal(nameOf(undefined, Buffer.from(' \r\n\t{ }')), 'json')
  })

  it('is safetensors for bytes that look like nothing', () => {
    const cut = SAFETENSORS_BANK.subarray(0, 20)
    for (const bytes of [new Uint8Array(), Buffer.from('[1]'), Buffer.from('{'), new Uint8Array(100), cut, Buffer.from('{nonsense')]) {
      assert.equal(nameOf(undefined, bytes), 'safetensors')
    }
  })

  it('is not mistaken for JSON when the length of a safetensors header begins with a brace', () => {
    const bank = serializeBankSafetensors(new Map([['bn1', {
      mean: Float32Array.of(1), variance: Float32Array.of(1), gamma: Float32Array.of(1), beta: Float32Array.of(0)
    }]]), new Map())
    assert.equal(nameOf(undefined, bank), 'safetensors')
    const braced = rawSafetensors('{"__metadata__":{"a":"b"}}'.padEnd(0x7b))
    assert.equal(braced[0], 0x7b)
    assert.equal(nameOf(undefined, braced), 'safetensors')
  })

  it('is among the media types that are taken, which have each one once', () => {
    assert.deepEqual([...BANK_MEDIA_TYPES].toSorted(), [...new Set([
      'application/octet-stream', ...BANK_FORMATS.flatMap(({ mediaTypes }) => mediaTypes)
    ])].toSorted())
  })
})

describe('the format of a file', () => {
  it('is what its name says, else what its bytes look like', () => {
    for (const { name, extensions } of BANK_FORMATS) {
      for (const extension of extensions) {
        assert.equal(formatOfName(`some/bank${extension}`)?.name, name)
        assert.equal(formatOfFile(`BANK${extension.toUpperCase()}`, JSON_BANK).name, name)
      }
      assert.equal(formatOfFile('bank.bin', SAMPLES[name]!).name, name)
    }
    assert.equal(formatOfName('traffic-signs/day'), undefined)
    assert.equal(formatOfName('json'), undefined)
  })
})
