import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { sha256 } from '#src/base/digest.js'
import {
  checkRevision, VERSIONS_MAX, withActive, withoutActive, withoutVersion, withoutVersions, withRollback, withVersion
} from '#src/store/changes.js'
import { requireVersion } from '#src/store/marks.js'
import type { Pointer, VersionRecord } from '#src/store/bank-store.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'

/** How far back a rollback goes, said again. */
const PREVIOUS_KEPT = 32

function recordOf (version: number): VersionRecord {
  return {
    version,
    sha256: sha256(`file ${version}`),
    bytes: version,
    digest: sha256(`bank ${version}`),
    fingerprint: sha256('network'),
    source: 'json',
    createdAt: '2024-01-01T00:00:00.000Z'
  }
}

/** Versions 1 to `count`, each activated in turn. */
function pointerWith (count: number): Pointer {
  let pointer: Pointer | undefined
  for (let version = 1; version <= count; version++) pointer = withVersion('night', pointer, recordOf(version), true)
  return pointer!
}

test('the first version makes a domain at revision 1', () => {
  assert.deepEqual(withVersion('night', undefined, recordOf(1), true, 'dark'), {
    domain: 'night',
    description: 'dark',
    revision: 1,
    lastVersion: 1,
    active: 1,
    previous: [],
    versions: [recordOf(1)]
  })
  const { active, previous } = withVersion('night', undefined, recordOf(1), false)
  assert.deepEqual([active, previous], [null, []])
})

test('a description stays until another comes', () => {
  const first = withVersion('night', undefined, recordOf(1), true, 'dark')
  const second = withVersion('night', first, recordOf(2), true)
  assert.equal(second.description, 'dark')
  assert.equal(withVersion('night', second, recordOf(3), true, '').description, '')
  assert.equal('description' in pointerWith(1), false)
})

test('steps leave the pointer that they start from as it was', () => {
  const pointer = pointerWith(3)
  const copy = structuredClone(pointer)
  withVersion('night', pointer, recordOf(4), true)
  withActive(pointer, 1)
  withRollback(pointer)
  withoutVersion(pointer, 1)
  withoutVersions(pointer, new Set([1, 3]))
  assert.deepEqual(pointer, copy)
})

test('activating what is active changes the revision only', () => {
  const pointer = pointerWith(2)
  assert.deepEqual(withActive(pointer, 2), { ...pointer, revision: 3 })
})

test('deactivating leaves every version and a step back to the one that was active', () => {
  const off = withoutActive(pointerWith(2))
  assert.deepEqual([off.active, off.previous, off.revision, off.versions.length], [null, [1, 2], 3, 2])
  assert.deepEqual(withoutActive(off), { ...off, revision: 4 })
  assert.deepEqual([withRollback(off).active, withRollback(off).previous], [2, [1]])
  assert.deepEqual([withActive(off, 2).active, withActive(off, 2).previous], [2, [1]])
  assert.deepEqual(withActive(off, 1).previous, [1, 2])
  assert.equal(withoutVersion(off, 2).active, null)
})

test('a rollback returns step by step and then is impossible', () => {
  const first = withRollback(pointerWith(3))
  assert.deepEqual([first.active, first.previous, first.revision], [2, [1], 4])
  const second = withRollback(first)
  assert.deepEqual([second.active, second.previous], [1, []])
  assert.throws(() => withRollback(second), hasCode('ROLLBACK_IMPOSSIBLE'))
  assert.throws(() => withRollback(withVersion('night', undefined, recordOf(1), false)), hasCode('ROLLBACK_IMPOSSIBLE'))
})

test('a rollback never returns to the version that is active already', () => {
  const toAndFro = withActive(withActive(pointerWith(2), 1), 2)
  assert.deepEqual([toAndFro.active, toAndFro.previous], [2, [1, 2, 1]])
  const removed = withoutVersion(toAndFro, 1)
  assert.deepEqual([removed.active, removed.previous], [2, []])
  assert.throws(() => withRollback(removed), hasCode('ROLLBACK_IMPOSSIBLE'))

  const lost = withActive(withoutVersions(pointerWith(2), new Set([2])), 1)
  assert.deepEqual([lost.active, lost.previous], [1, []])
})

test('a rollback goes back 32 steps at most', () => {
  const pointer = pointerWith(PREVIOUS_KEPT + 5)
  assert.deepEqual(pointer.previous, Array.from({ length: PREVIOUS_KEPT }, (_, index) => index + 5))
})

test('the active version is not removed', () => {
  assert.throws(() => withoutVersion(pointerWith(2), 2), hasCode('VERSION_ACTIVE'))
})

test('a lost active version leaves none active, and a rollback reaches the one before', () => {
  const lost = withoutVersions(pointerWith(3), new Set([3]))
  assert.deepEqual([lost.active, lost.previous, lost.lastVersion], [null, [1, 2], 3])
  assert.equal(withRollback(lost).active, 2)
  assert.deepEqual(withActive(lost, 1).previous, [1, 2])
})

test('an unknown version is refused, naming the latest known ones', () => {
  const pointer = pointerWith(25)
  for (const step of [requireVersion, withActive, withoutVersion]) {
    assert.throws(() => step(pointer, 26), hasCode('VERSION_NOT_FOUND', {
      expected: Array.from({ length: 20 }, (_, index) => index + 6), received: 26
    }))
  }
  assert.equal(requireVersion(pointer, 7), pointer.versions[6])
})

test('versions are bounded', () => {
  const versions = Array.from({ length: VERSIONS_MAX }, (_, index) => recordOf(index + 1))
  const full: Pointer = { ...pointerWith(1), versions, lastVersion: VERSIONS_MAX }
  const next = recordOf(VERSIONS_MAX + 1)
  assert.throws(() => withVersion('night', full, next, true), hasCode('STORE_LIMIT', {
    expected: VERSIONS_MAX, received: VERSIONS_MAX + 1
  }))
  assert.equal(withVersion('night', withoutVersion(full, 2), next, true).versions.length, VERSIONS_MAX)
})

test('an expected revision must be the one there is, 0 meaning none', () => {
  const pointer = pointerWith(3)
  for (const expected of [undefined, 3]) checkRevision('night', pointer, expected)
  for (const expected of [undefined, 0]) checkRevision('night', undefined, expected)
  for (const expected of [0, 2, 4]) {
    const refused = hasCode('PRECONDITION_FAILED', { expected, received: 3 })
    assert.throws(() => checkRevision('night', pointer, expected), refused)
  }
  const refused = hasCode('PRECONDITION_FAILED', { expected: 1, received: 0 })
  assert.throws(() => checkRevision('night', undefined, 1), refused)
})

/** A domain as plainly as can be: every activation on one stack; null on top while none is active. */
interface Model {
  known: number[]
  given: number
  stack: Array<number | null>
  changes: number
}

const collapse = (stack: Model['stack']) => stack.filter((version, index) => version !== stack[index - 1])

type Step =
  | { kind: 'publish', isActivated: boolean }
  | { kind: 'activate' | 'remove' | 'lose', pick: number }
  | { kind: 'rollBack' }

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('publish' as const), isActivated: fc.boolean() }),
  fc.record({ kind: fc.constantFrom('activate' as const, 'remove' as const, 'lose' as const), pick: fc.nat(3) }),
  fc.constant({ kind: 'rollBack' as const })
)

/** The model after a step, or the error code that it must give. */
function modelStep (model: Model, step: Step): Model | string {
  const { known, given, stack } = model
  const changes = model.changes + 1
  const put = (version: number) => collapse([...stack.filter((held) => held !== null), version])
  if (step.kind === 'publish') {
    const version = given + 1
    return { known: [...known, version], given: version, stack: step.isActivated ? put(version) : stack, changes }
  }
  if (step.kind === 'rollBack') {
    return stack.length < 2 ? 'ROLLBACK_IMPOSSIBLE' : { ...model, stack: stack.slice(0, -1), changes }
  }
  const version = step.pick + 1
  if (step.kind === 'lose') {
    const rest = stack.slice(0, -1).filter((held) => held !== version)
    const top = stack.slice(-1).map((held) => held === version ? null : held)
    return { ...model, known: known.filter((held) => held !== version), stack: collapse([...rest, ...top]), changes }
  }
  if (!known.includes(version)) return 'VERSION_NOT_FOUND'
  if (step.kind === 'activate') return { ...model, stack: put(version), changes }
  if (stack.at(-1) === version) return 'VERSION_ACTIVE'
  const left = stack.filter((held) => held !== version)
  return { ...model, known: known.filter((held) => held !== version), stack: collapse(left), changes }
}

function realStep (pointer: Pointer, step: Step): Pointer {
  switch (step.kind) {
    case 'publish': return withVersion('night', pointer, recordOf(pointer.lastVersion + 1), step.isActivated)
    case 'rollBack': return withRollback(pointer)
    case 'activate': return withActive(pointer, step.pick + 1)
    case 'remove': return withoutVersion(pointer, step.pick + 1)
    case 'lose': return withoutVersions(pointer, new Set([step.pick + 1]))
  }
}

test('any sequence of changes agrees with a stack of activations', () => {
  fc.assert(fc.property(fc.boolean(), fc.array(anyStep, { maxLength: 30 }), (isActivated, steps) => {
    let pointer = withVersion('night', undefined, recordOf(1), isActivated)
    let model: Model = { known: [1], given: 1, stack: [isActivated ? 1 : null], changes: 1 }
    for (const step of steps) {
      const expected = modelStep(model, step)
      if (typeof expected === 'string') {
        const before = pointer
        assert.throws(() => realStep(before, step), hasCode(expected))
        continue
      }
      model = expected
      pointer = realStep(pointer, step)
      assert.deepEqual(
        [pointer.versions, pointer.lastVersion, pointer.active, pointer.previous, pointer.revision],
        [model.known.map(recordOf), model.given, model.stack.at(-1), model.stack.slice(0, -1), model.changes]
      )
    }
  }), { seed: runSeed, numRuns: 500 })
})
