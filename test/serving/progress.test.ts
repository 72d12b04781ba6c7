import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProgressBoard } from '#src/serving/answering/progress.js'
import { hasCode } from '../support/errors.js'

test('progress is shown while the work lasts, under one key one work', async () => {
  const board = new ProgressBoard()
  const progress = { tilesDone: 0, tilesTotal: 3 }
  assert.throws(() => board.get('k'), hasCode('PROGRESS_NOT_FOUND'))
  const result = await board.show('k', progress, async () => {
    assert.deepEqual(board.get('k'), { tilesDone: 0, tilesTotal: 3 })
    progress.tilesDone = 2
    assert.deepEqual(board.get('k'), { tilesDone: 2, tilesTotal: 3 })
    await assert.rejects(board.show('k', { tilesDone: 0, tilesTotal: 1 }, async () => assert.fail('twice')), hasCode('PROGRESS_KEY_IN_USE'))
    assert.equal(await board.show(undefined, progress, async () => 1), 1)
    return 7
  })
  assert.equal(result, 7)
  assert.throws(() => board.get('k'), hasCode('PROGRESS_NOT_FOUND'))
  await assert.rejects(board.show('k', progress, async () => { throw new Error('broken') }), /broken/)
  assert.throws(() => board.get('k'), hasCode('PROGRESS_NOT_FOUND'))
})
