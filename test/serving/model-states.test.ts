import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ModelStates, type ReadyModel } from '#src/serving/model-states.js'
import type { ModelEntry } from '#src/models/repository.js'
import { hasCode } from '../support/errors.js'

const entry = (name: string) => ({ manifest: { name } }) as ModelEntry
const ready = (modelEntry: ModelEntry) => ({ entry: modelEntry, artefact: {}, served: {} }) as ReadyModel

test('models begin as loading and keep their order', () => {
  const [signs, plates] = [entry('signs'), entry('plates')]
  const models = new ModelStates([signs, plates])
  assert.deepEqual(models.all(), [{ state: 'loading', entry: signs }, { state: 'loading', entry: plates }])
  models.setReady(ready(plates))
  models.setFailed(signs, new Error('broken'))
  assert.deepEqual(models.all().map(({ entry: { manifest }, state }) => [manifest.name, state]), [
    ['signs', 'failed'], ['plates', 'ready']
  ])
})

test('all are ready when each one is', () => {
  const [signs, plates] = [entry('signs'), entry('plates')]
  const models = new ModelStates([signs, plates])
  assert.equal(models.isReady, false)
  models.setReady(ready(signs))
  assert.equal(models.isReady, false)
  models.setFailed(plates, new Error('broken'))
  assert.equal(models.isReady, false)
  models.setReady(ready(plates))
  assert.equal(models.isReady, true)
  assert.equal(new ModelStates([]).isReady, true)
})

test('a model is given out when it is ready, and told apart from one that is not yet or not at all', () => {
  const [signs, plates, faces] = [entry('signs'), entry('plates'), entry('faces')]
  const models = new ModelStates([signs, plates, faces])
  const broken = new Error('secret path /srv/models')
  models.setReady(ready(signs))
  models.setFailed(faces, broken)
  assert.equal(models.ready('signs').entry, signs)
  assert.throws(() => models.ready('plates'), hasCode('MODEL_NOT_READY'))
  assert.throws(() => models.ready('faces'), (error: Error) => {
    assert.doesNotMatch(error.message, /secret/)
    return hasCode('MODEL_FAILED')(error)
  })
  assert.deepEqual(models.get('plates'), { state: 'loading', entry: plates })
  assert.deepEqual(models.get('faces'), { state: 'failed', entry: faces, error: broken })
})

test('an unknown model is refused, naming the known ones', () => {
  const models = new ModelStates([entry('signs'), entry('plates')])
  for (const find of [() => models.get('cats'), () => models.ready('cats')]) {
    assert.throws(find, hasCode('MODEL_NOT_FOUND', { expected: ['signs', 'plates'], received: 'cats' }))
  }
  assert.throws(() => models.get('constructor'), hasCode('MODEL_NOT_FOUND'))
  assert.throws(() => models.get('x'.repeat(300)), hasCode('MODEL_NOT_FOUND', { received: 'x'.repeat(100) }))
})
