import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withActive, withoutActive, withoutVersion, withoutVersions, withRollback, withVersion } from '#src/store/changes.js'
import { checkGate, LABELS_MAX, withGate, withMark } from '#src/store/marks.js'
import { sha256 } from '#src/base/digest.js'
import type { GateRecord, Pointer, VersionRecord } from '#src/store/bank-store.js'
import { hasCode } from '../support/errors.js'

function recordOf (version: number): VersionRecord {
  const digest = sha256(`file ${version}`)
  return { version, sha256: digest, bytes: 1, digest, fingerprint: digest, source: 'json', createdAt: '2024-01-01T00:00:00.000Z' }
}

/** Versions 1 to 4, all but the first two only stored; 2 is active, after 1. */
function pointer (): Pointer {
  let made: Pointer | undefined
  for (let version = 1; version <= 4; version++) made = withVersion('night', made, recordOf(version), version < 3)
  return made!
}

const gate: GateRecord = { sha256: sha256('gate'), bytes: 1, rows: 1, absolute: 0, relative: 0, createdAt: '' }

test('labels are set, moved and taken away, in alphabetical order', () => {
  const one = withMark(pointer(), { kind: 'label', label: 'stable', version: 1 })
  const two = withMark(one, { kind: 'label', label: 'canary', version: 3 })
  assert.deepEqual(Object.entries(two.labels!), [['canary', 3], ['stable', 1]])
  assert.equal(two.revision, 6)
  const moved = withMark(two, { kind: 'label', label: 'stable', version: 2 })
  assert.deepEqual(moved.labels, { canary: 3, stable: 2 })
  const bare = withMark(withMark(moved, { kind: 'label', label: 'stable' }), { kind: 'label', label: 'canary' })
  assert.deepEqual(bare, { ...pointer(), revision: 9 })
  assert.throws(() => withMark(bare, { kind: 'label', label: 'stable' }), hasCode('LABEL_NOT_FOUND'))
  assert.throws(() => withMark(bare, { kind: 'label', label: 'stable', version: 9 }), hasCode('VERSION_NOT_FOUND'))
})

test('labels are bounded', () => {
  let full = pointer()
  for (let at = 0; at < LABELS_MAX; at++) full = withMark(full, { kind: 'label', label: `l${at}`, version: 1 })
  assert.throws(() => withMark(full, { kind: 'label', label: 'more', version: 1 }), hasCode('STORE_LIMIT'))
  assert.equal(withMark(full, { kind: 'label', label: 'l0', version: 2 }).labels!.l0, 2)
})

for (const kind of ['canary', 'shadow'] as const) {
  test(`a ${kind} is set, replaced and taken away`, () => {
    const set = withMark(pointer(), { kind, candidate: { version: 3, percent: 10 } })
    assert.deepEqual(set[kind], { version: 3, percent: 10 })
    assert.deepEqual(withMark(set, { kind, candidate: { version: 4, percent: 1 } })[kind], { version: 4, percent: 1 })
    assert.deepEqual(withMark(set, { kind }), { ...pointer(), revision: 6 })
    assert.deepEqual(withMark(pointer(), { kind }), { ...pointer(), revision: 5 })
    assert.throws(() => withMark(set, { kind, candidate: { version: 9, percent: 1 } }), hasCode('VERSION_NOT_FOUND'))
  })

  test(`a ${kind} ends when it becomes active, whichever way, and only then`, () => {
    const set = withMark(pointer(), { kind, candidate: { version: 3, percent: 10 } })
    assert.equal(withActive(set, 3)[kind], undefined)
    assert.deepEqual(withActive(set, 4)[kind], { version: 3, percent: 10 })
    assert.deepEqual(withoutActive(set)[kind], { version: 3, percent: 10 })
    assert.deepEqual(withVersion('night', set, recordOf(5), true)[kind], { version: 3, percent: 10 })
    const back = withMark(pointer(), { kind, candidate: { version: 1, percent: 10 } })
    assert.equal(withRollback(back).active, 1)
    assert.equal(withRollback(back)[kind], undefined)
  })
}

test('a version that something points to is not removed', () => {
  const labelled = withMark(pointer(), { kind: 'label', label: 'stable', version: 3 })
  const canary = withMark(pointer(), { kind: 'canary', candidate: { version: 3, percent: 0 } })
  const shadow = withMark(pointer(), { kind: 'shadow', candidate: { version: 3, percent: 0 } })
  for (const [marked, received] of [[labelled, 'label "stable"'], [canary, 'the canary'], [shadow, 'the shadow']] as const) {
    assert.throws(() => withoutVersion(marked, 3), hasCode('VERSION_MARKED', { received: [received] }))
    assert.equal(withoutVersion(marked, 4).versions.length, 3)
  }
})

test('a version that is lost takes its marks along, and leaves those of others', () => {
  let marked = withMark(pointer(), { kind: 'label', label: 'stable', version: 3 })
  marked = withMark(marked, { kind: 'label', label: 'next', version: 4 })
  marked = withMark(marked, { kind: 'canary', candidate: { version: 3, percent: 1 } })
  marked = withMark(marked, { kind: 'shadow', candidate: { version: 4, percent: 1 } })
  const { labels, canary, shadow } = withoutVersions(marked, new Set([3]))
  assert.deepEqual([labels, canary, shadow], [{ next: 4 }, undefined, { version: 4, percent: 1 }])
  const bare = withoutVersions(marked, new Set([3, 4]))
  assert.deepEqual(['labels' in bare, 'canary' in bare, 'shadow' in bare], [false, false, false])
})

test('a change holds only under the gate that was passed', () => {
  checkGate('night', undefined, null)
  checkGate('night', gate, gate.sha256)
  checkGate('night', gate, undefined)
  for (const [present, passed] of [[undefined, gate.sha256], [gate, null], [gate, sha256('another')]] as const) {
    assert.throws(() => checkGate('night', present, passed), hasCode('STORE_CHANGED'))
  }
})

test('a gate comes, stays through changes, and goes', () => {
  const gated = withGate(pointer(), gate)
  assert.deepEqual([gated.gate, gated.revision], [gate, 5])
  assert.equal(withVersion('night', withActive(gated, 3), recordOf(5), true).gate, gate)
  assert.deepEqual(withGate(gated, undefined), { ...pointer(), revision: 6 })
})
