/** Requests of the Open Inference Protocol, and headers, from strangers. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isBlend, parseReference } from '#src/serving/blend-reference.js'
import { parseDomainReference } from '#src/serving/domain-reference.js'
import { parseInferenceRequest, type InferenceMessage } from '#src/http/open-inference/parse-request.js'
import { parseRawRequest } from '#src/http/open-inference/raw-request.js'
import { binaryRequest } from '../support/wire.js'
import { anyJson, fuzzing, mutated, parsesOrRefuses, trickyKey } from './fixtures/mutate.js'

/** Elements of the widest type over the shortest text of one; and what the elements' objects take. */
const GROWTH_MAX = 8

const DATATYPES = ['BOOL', 'UINT8', 'UINT16', 'UINT32', 'UINT64', 'INT8', 'INT16', 'INT32', 'INT64', 'FP16', 'BF16', 'FP32', 'FP64', 'BYTES']

const size = fc.constantFrom(0, 1, 2, 3, 4, 2 ** 31, 2 ** 32 + 1, 2 ** 53, 1e300)
const parameters = fc.dictionary(
  fc.oneof(fc.constantFrom('binary_data_size', 'binary_data', 'classification', 'sequence_id', 'timeout', 'domain', 'shared_memory_region'), trickyKey),
  anyJson, { maxKeys: 3 }
)
const input = fc.record({
  name: fc.oneof(fc.constantFrom('input', '__domain__', 'a'), trickyKey),
  shape: fc.oneof(fc.array(size, { maxLength: 4 }), anyJson),
  datatype: fc.oneof(fc.constantFrom(...DATATYPES), trickyKey),
  parameters: fc.oneof(parameters, fc.record({ binary_data_size: size }), anyJson),
  data: fc.oneof(fc.array(anyJson, { maxLength: 4 }), fc.array(fc.constantFrom(0, 1), { maxLength: 4 }), anyJson)
}, { requiredKeys: ['name', 'shape', 'datatype'] })
const request = fc.record({
  id: anyJson,
  parameters,
  inputs: fc.oneof(fc.array(input, { minLength: 1, maxLength: 3 }), anyJson),
  outputs: fc.oneof(fc.array(fc.record({ name: fc.string(), parameters }), { maxLength: 2 }), anyJson)
}, { requiredKeys: ['inputs'] })

function bytesOf (message: InferenceMessage): number {
  return Object.values(message.feeds).reduce((sum, { data }) => {
    return sum + (Array.isArray(data) ? data.reduce((all: number, text) => all + String(text).length, 0) : (data as Uint8Array).byteLength)
  }, 0)
}

async function parse (body: Uint8Array, headerLength?: string): Promise<void> {
  const message = await parsesOrRefuses(() => parseInferenceRequest(body, headerLength))
  if (message === undefined) return
  assert.ok(bytesOf(message) <= GROWTH_MAX * body.length, `${bytesOf(message)} bytes out of ${body.length}`)
  for (const { dims, data } of Object.values(message.feeds)) {
    assert.equal(dims.reduce((product, dim) => product * dim, 1), (data as ArrayLike<unknown>).length)
  }
}

describe('an inference request', () => {
  it('of any structure is parsed or refused', async () => {
    await fc.assert(fc.asyncProperty(request, fc.uint8Array({ maxLength: 64 }), fc.boolean(), async (json, tail, isBinary) => {
      const header = Buffer.from(JSON.stringify(json))
      await (isBinary ? parse(Buffer.concat([header, tail]), String(header.length)) : parse(header))
    }), fuzzing)
  })

  it('that was right once is parsed or refused, whatever the length of its JSON', async () => {
    const { payload, headers } = binaryRequest({ shape: [1, 3, 4, 4], values: new Float32Array(48) })
    const length = headers['inference-header-content-length']!
    const text = fc.oneof(fc.constant(length), fc.integer({ min: -1, max: 400 }).map(String), fc.string(), fc.constantFrom('1e2', '0x10', ' 5', '999999999999999', '9'.repeat(400)))
    const json = Buffer.from(JSON.stringify({ inputs: [{ name: 'input', shape: [2, 2], datatype: 'INT8', data: [[1, 2], [3, 4]] }] }))
    await fc.assert(fc.asyncProperty(mutated(payload, json), fc.option(text, { nil: undefined }), parse), fuzzing)
  })

  it('as a raw body is parsed or refused', async () => {
    const dims = fc.array(fc.constantFrom(null, 1, 2, 3), { minLength: 1, maxLength: 4 })
    const type = fc.constantFrom('float32' as const, 'string' as const, 'int64' as const, 'bool' as const)
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), dims, type, async (body, sizes, of) => {
      const usual = sizes.map((one) => one ?? 2)
      await parsesOrRefuses(() => parseRawRequest(body, [{ name: 'x', type: of, dims: sizes }], usual))
    }), fuzzing)
  })
})

describe('a reference to a domain', () => {
  it('is parsed or refused', async () => {
    const part = fc.oneof(fc.string(), trickyKey, fc.constantFrom('day', 'active', '1', '0', '-1', '1e3', '999999999', '9999999999'))
    await fc.assert(fc.asyncProperty(fc.array(part, { maxLength: 4 }), async (parts) => {
      const parsed = await parsesOrRefuses(() => parseDomainReference(parts.join(':')))
      if (parsed === undefined) return
      assert.match(parsed.domain, /^[\w.-]+$/)
      assert.ok(parsed.version === undefined || Number.isSafeInteger(parsed.version))
    }), fuzzing)
  })

  it('or a blend of some is parsed or refused', async () => {
    const word = fc.oneof(fc.string({ maxLength: 12 }), trickyKey, fc.constantFrom('day', 'fog:3', 'day:stable', 'day', 'lowlight:999999999'))
    const share = fc.oneof(fc.string({ maxLength: 6 }), fc.constantFrom('1', '0.5', '.5', '0', '1e3', '-1', 'NaN', '0.', `0.${'3'.repeat(20)}`, '9'), fc.double().map(String))
    const part = fc.tuple(word, fc.constantFrom('=', '=', '==', ':', ''), share).map((pieces) => pieces.join(''))
    const text = fc.array(part, { maxLength: 10 }).chain((parts) => fc.constantFrom(',', ';', ', ', '').map((between) => parts.join(between)))
    const halves = fc.tuple(word, word).map(([one, other]) => `${one}=0.5,${other}=0.5`)
    await fc.assert(fc.asyncProperty(fc.oneof(text, halves), async (given) => {
      const parsed = await parsesOrRefuses(() => parseReference(given))
      if (parsed === undefined || !isBlend(parsed)) return
      assert.ok(parsed.parts.length >= 1 && parsed.parts.length <= 8)
      assert.equal(parsed.parts.reduce((sum, { hundredths }) => sum + hundredths, 0), 100)
      for (const { domain } of parsed.parts) assert.match(domain, /^[\w.-]+$/)
    }), fuzzing)
  })

  it('or a blend, however long, is refused in no time', async () => {
    for (const long of ['day=0.5,'.repeat(200_000), `${'a'.repeat(1_000_000)}=1`, `day=${'0'.repeat(1_000_000)}`, '='.repeat(1_000_000)]) {
      await parsesOrRefuses(() => parseReference(long))
    }
  })
})
