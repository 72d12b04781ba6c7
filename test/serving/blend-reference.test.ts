import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { describeBlend, isBlend, parseReference, type BlendReference } from '#src/serving/blend-reference.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'

function parts (text: string): string[] {
  const reference = parseReference(text)
  assert.ok(isBlend(reference))
  return reference.parts.map(({ domain, version, label, hundredths }) => `${domain}:${version ?? label ?? ''}=${hundredths}`)
}

describe('a reference to a blend', () => {
  for (const [text, expected] of [
    ['day=0.7,lowlight=0.3', ['day:=70', 'lowlight:=30']],
    ['lowlight=0.3;day=0.7', ['day:=70', 'lowlight:=30']],
    ['  day = .7 ,\tlowlight:3 = 0.3 ', ['day:=70', 'lowlight:3=30']],
    ['day:stable=0.5,day:active=0.5', ['day:active=50', 'day:stable=50']],
    ['day=1', ['day:=100']],
    ['day=1.0', ['day:=100']],
    // What stands twice counts once.
    ['day=0.2,fog=0.6,day=0.2', ['day:=40', 'fog:=60']],
    ['day=0.33,fog=0.33,lowlight=0.33', ['day:=34', 'fog:=33', 'lowlight:=33']],
    ['a=0.125,b=0.125,c=0.125,d=0.125,e=0.125,f=0.125,g=0.125,h=0.125', [...'abcd'].map((name) => `${name}:=13`).concat([...'efgh'].map((name) => `${name}:=12`))],
    // The one that loses most is rounded up.
    ['a=0.014,b=0.496,c=0.49', ['a:=1', 'b:=50', 'c:=49']],
    ['a=0.29,b=0.71', ['a:=29', 'b:=71']],
    ['a=0.004,b=0.996', ['b:=100']],
    ['a=0.006,b=0.994', ['a:=1', 'b:=99']]
  ] as const) {
    it(`"${text}" is read`, () => assert.deepEqual(parts(text), expected))
  }

  for (const text of [
    'day=', '=1', 'day=0', 'day=0.0,fog=1', 'day=-1,fog=2', 'day=0.5', 'day=0.5,fog=0.4', 'day=0.7,fog=0.7', 'day=1e0', 'day=+1', 'day=NaN', 'day=Infinity',
    'day=0x1', 'day=0.5=0.5', 'day=0.5,fog', 'day=0.5,,fog=0.5', 'day=1,', 'day:=1', 'day:0=1', 'day: 3=1', '../day=1', 'day=0.5,fog=0.5\u0000', 'day=٠.٥,fog=0.5',
    'day=0,5;fog=0.5', 'day=00.5,fog=0.5', 'day=1.,fog=0', 'd ay=1', 'day=0.5&fog=0.5', 'a=0.12,b=0.12,c=0.12,d=0.12,e=0.12,f=0.12,g=0.12,h=0.12'
  ]) {
    it(`${JSON.stringify(text)} is refused`, () => assert.throws(() => parseReference(text), hasCode('DOMAIN_REFERENCE_INVALID')))
  }

  it('has at most eight parts, and some length', () => {
    const nine = Array.from({ length: 9 }, (_, at) => `d${at}=0.1111`).join()
    assert.throws(() => parseReference(nine), hasCode('DOMAIN_REFERENCE_INVALID', { expected: 'at most 8 parts', received: 9 }))
    assert.throws(() => parseReference(`day=1${' '.repeat(2000)}`), hasCode('DOMAIN_REFERENCE_INVALID', { expected: 'at most 1600 characters' }))
  })

  it('without a share is a single domain', () => {
    assert.deepEqual(parseReference('day:3'), { domain: 'day', version: 3 })
    assert.throws(() => parseReference('day,fog'), hasCode('DOMAIN_REFERENCE_INVALID'))
  })

  it('waits in the turn of its heaviest part, of parts as heavy the first by name', () => {
    for (const [text, domain] of [['a=0.3,b=0.7', 'b'], ['b=0.5,a=0.5', 'a'], ['c=0.4,b=0.2,a=0.4', 'a']] as const) {
      assert.equal(parseReference(text).domain, domain)
    }
  })

  it('has hundredths that sum to a hundred, whatever the order and the spacing, and is read again as it was told', () => {
    const shares = fc.array(fc.integer({ min: 1, max: 1_000_000 }), { minLength: 1, maxLength: 8 })
    const separator = fc.constantFrom(',', ';', ' , ', ' ; ')
    fc.assert(fc.property(shares, fc.infiniteStream(separator), fc.integer({ min: 0, max: 7 }), (given, separators, turn) => {
      const sum = given.reduce((a, b) => a + b, 0)
      const texts = given.map((share, at) => `d${at}:${at + 1}=${(share / sum).toFixed(9)}`)
      if (given.length === 1) texts[0] = 'd0:1=1'
      const join = (all: string[]) => all.reduce((text, one) => `${text}${separators.next().value!}${one}`)
      const turned = [...texts.slice(turn), ...texts.slice(0, turn)].toReversed()
      const [one, other] = [texts, turned].map((all) => parseReference(join(all)) as BlendReference)
      assert.deepEqual(one, other)
      assert.equal(one!.parts.reduce((all, { hundredths }) => all + hundredths, 0), 100)
      assert.ok(one!.parts.every(({ hundredths }) => Number.isInteger(hundredths) && hundredths > 0))
      const told = describeBlend(one!.parts.map(({ domain, version, hundredths }) => ({ domain, version: version!, hundredths })))
      assert.deepEqual(parseReference(told), one)
    }), { seed: runSeed, numRuns: 500 })
  })
})
