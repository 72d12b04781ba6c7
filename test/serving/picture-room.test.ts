import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PictureRoom } from '#src/serving/answering/picture-room.js'
import { hasCode } from '../support/errors.js'

function gate (): { opened: Promise<void>, open: () => void } {
  let open = () => {}
  const opened = new Promise<void>((resolve) => { open = resolve })
  return { opened, open }
}

test('pictures have room while their number and bytes allow, and give it back however they end', async () => {
  const room = new PictureRoom({ picturesMax: 2, bytesMax: 100 })
  const { opened, open } = gate()
  const first = room.hold(60, () => opened)
  await assert.rejects(room.hold(41, async () => assert.fail('it has no room')), hasCode('QUEUE_FULL'))
  const second = room.hold(40, async () => { await opened; throw new Error('broken') })
  await assert.rejects(room.hold(0, async () => assert.fail('there are two')), hasCode('QUEUE_FULL'))
  assert.deepEqual(room.size, { pictures: 2, bytes: 100 })
  open()
  await first
  await assert.rejects(second, /broken/)
  assert.deepEqual(room.size, { pictures: 0, bytes: 0 })
  assert.equal(await room.hold(100, async () => 7), 7)
})

test('what could never have room is told apart', async () => {
  const room = new PictureRoom({ picturesMax: 2, bytesMax: 100 })
  await assert.rejects(room.hold(101, async () => {}), hasCode('PICTURE_TOO_LARGE', { received: 101 }))
})
