import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { bytesOf } from '#src/base/bytes.js'
import { parseSafetensors, serializeSafetensors, type TensorToWrite } from '#src/bank/formats/safetensors.js'
import { parseSignatures, signatureParts } from '#src/signature/file-parts.js'
import { makeSignature } from '#src/signature/signature.js'
import { hasCode } from '../support/errors.js'
import { featureRows, ORIGIN } from '../support/feature-rows.js'
import { runSeed } from '../support/run-seed.js'

const large = makeSignature(featureRows(80, 2, runSeed), ORIGIN)
const small = makeSignature(featureRows(60, 2, runSeed + 1, 3), { ...ORIGIN, preparation: '16x16' })
const whole = signatureParts([large, small])

function parsed (tensors: readonly TensorToWrite[], metadata: ReadonlyArray<readonly [string, string]>) {
  return parseSignatures(parseSafetensors(serializeSafetensors(tensors, new Map(metadata))))
}

describe('signatures in a file', () => {
  it('come back as they were written', () => {
    assert.deepEqual(parsed(whole.tensors, whole.metadata), [large, small])
  })

  it('are none where a file has none', () => {
    assert.deepEqual(signatureParts([]), { tensors: [], metadata: [] })
    assert.deepEqual(parsed([], []), [])
  })

  const changed = (name: string, values: readonly number[]) => whole.tensors.map((tensor) => {
    if (!tensor.name.endsWith(name)) return tensor
    return { ...tensor, shape: [values.length], bytes: bytesOf(Float64Array.from(values)) }
  })
  const described = (change: object) => [
    ['bankswitch.signatures', JSON.stringify([{ ...ORIGIN, images: 80, ...change }])]
  ] as const
  const wrong: ReadonlyArray<readonly [string, readonly TensorToWrite[], ReadonlyArray<readonly [string, string]>]> = [
    ['a missing tensor', whole.tensors.slice(1), whole.metadata],
    ['what is no number', changed('0.mean', [1, NaN, 0, 0]), whole.metadata],
    ['an odd number of features', changed('0.mean', [1, 2, 3]), whole.metadata],
    ['no features', changed('0.mean', []), whole.metadata],
    ['a covariance of another size', changed('0.covariance', [1, 0, 1]), whole.metadata],
    ['a covariance that is none', changed('0.covariance', new Array(10).fill(-1)), whole.metadata],
    ['scores that fall', changed('0.scores', [...large.scores].reverse()), whole.metadata],
    ['too few scores', changed('0.scores', [1, 2, 3]), whole.metadata],
    ['negative scores', changed('0.scores', [-1, ...large.scores.slice(1)]), whole.metadata],
    ['more scores than images', whole.tensors, described({ images: 40 })],
    ['too many images', whole.tensors, described({ images: 2 ** 40 })],
    ['no origin', whole.tensors, described({ stem: undefined })],
    ['a long origin', whole.tensors, described({ preparation: 'x'.repeat(10_000) })],
    ['no list', whole.tensors, [['bankswitch.signatures', '{}']]],
    ['no JSON', whole.tensors, [['bankswitch.signatures', '[']]],
    ['null', whole.tensors, [['bankswitch.signatures', '[null]']]]
  ]
  for (const [what, tensors, metadata] of wrong) {
    it(`are refused with ${what}`, () => {
      assert.throws(() => parsed(tensors, metadata), hasCode('SIGNATURE_INVALID'))
    })
  }
})
