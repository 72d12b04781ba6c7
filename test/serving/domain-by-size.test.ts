import assert from 'node:assert/strict'
import { test } from 'node:test'
import { domainBySize, sizeOfTensors } from '#src/serving/domain-by-size.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import type { ClassificationManifest } from '#src/models/manifest.js'
import type { BankStore, DomainRecord, VersionPreprocessing } from '#src/store/bank-store.js'
import type { Tensors } from '#src/ort/rows.js'

const size = (side: number) => ({ size: { width: side, height: side } })

const SWITCH: ClassificationManifest = {
  ...MANIFEST,
  domainFrom: 'inputSize',
  defaultDomain: 'px32',
  domains: { px24: { input: size(24) }, px16: { input: size(16) }, px12: { input: size(12) } }
}

function storeOf (domains: Record<string, { active?: boolean, preprocessing?: VersionPreprocessing }>): BankStore {
  const records = Object.entries(domains).map(([domain, { active = true, preprocessing }]) => {
    return { domain, active: active ? 1 : null, versions: [{ version: 1, ...(preprocessing === undefined ? {} : { preprocessing }) }] }
  })
  return { domains: () => records as unknown as DomainRecord[] } as unknown as BankStore
}

const ALL = { px32: {}, px24: {}, px16: {}, px12: {} }

test('the nearest size by area, of two as near the larger', () => {
  const store = storeOf(ALL)
  for (const [width, height, domain] of [
    [32, 32, 'px32'], [24, 24, 'px24'], [16, 16, 'px16'], [12, 12, 'px12'], [1, 1, 'px12'], [4000, 3000, 'px32'],
    [28, 28, 'px32'], [27, 27, 'px24'], [20, 20, 'px24'], [19, 19, 'px16'], [13, 13, 'px12'], [64, 4, 'px16'], [48, 8, 'px24'],
    // 16 * 24 is as far from 16 * 16 as from 24 * 24.
    [16, 24, 'px24']
  ] as const) {
    assert.equal(domainBySize(store, SWITCH, { width, height }), domain, `${width} x ${height}`)
  }
})

test('only what is active and has a size of its own is chosen, and the default', () => {
  assert.equal(domainBySize(storeOf({ ...ALL, px12: { active: false } }), SWITCH, { width: 12, height: 12 }), 'px16')
  assert.equal(domainBySize(storeOf({ a: {}, ...ALL }), SWITCH, { width: 32, height: 32 }), 'px32')
  assert.equal(domainBySize(storeOf({ px32: {}, a: { preprocessing: size(8) } }), SWITCH, { width: 9, height: 9 }), 'a')
  assert.equal(domainBySize(storeOf({ a: { preprocessing: size(32) }, ...ALL }), SWITCH, { width: 32, height: 32 }), 'px32')
  assert.equal(domainBySize(storeOf({ ...ALL, px16: { preprocessing: size(40) } }), SWITCH, { width: 40, height: 40 }), 'px16')
  assert.equal(domainBySize(storeOf({}), SWITCH, { width: 12, height: 12 }), 'px32')
})

test('tensors are told by height and width; what is no picture has none', () => {
  const feeds = (name: string, ...dims: number[]): Tensors => ({ [name]: { type: 'float32', dims, data: new Float32Array(0) } })
  assert.deepEqual(sizeOfTensors(SWITCH, feeds('x', 5, 3, 24, 16)), { width: 16, height: 24 })
  const nhwc: ClassificationManifest = { ...SWITCH, input: { ...SWITCH.input, layout: 'NHWC' } }
  assert.deepEqual(sizeOfTensors(nhwc, feeds('x', 5, 24, 16, 3)), { width: 16, height: 24 })
  assert.equal(sizeOfTensors(SWITCH, feeds('y', 5, 3, 16, 16)), undefined)
  assert.equal(sizeOfTensors(SWITCH, feeds('x', 5, 3, 16)), undefined)
})
