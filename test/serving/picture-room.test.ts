import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PictureRoom } from '#src/serving/answering/picture-room.js'
import { hasCode } from '../support/errors.js'

const MIB = 2 ** 20

const sizeOf = ({ pictures, bytes }: PictureRoom) => ({ pictures, bytes })

/** Everything that can go on has gone on. */
const settled = () => new Promise((resolve) => { setImmediate(resolve) })

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
  assert.deepEqual(sizeOf(room), { pictures: 2, bytes: 100 })
  open()
  await first
  await assert.rejects(second, /broken/)
  assert.deepEqual(sizeOf(room), { pictures: 0, bytes: 0 })
  assert.equal(await room.hold(100, async () => 7), 7)
})

test('what could never have room is told apart', async () => {
  const room = new PictureRoom({ picturesMax: 2, bytesMax: 100 })
  await assert.rejects(room.hold(101, async () => {}), hasCode('PICTURE_TOO_LARGE', { received: 101 }))
})

test('pictures that take much to decode wait for their turn, each in the order in which they came', async () => {
  const room = new PictureRoom({ picturesMax: 5, bytesMax: 400 * MIB })
  const gates = [gate(), gate(), gate(), gate()]
  const begun: number[] = []
  const decode = (at: number, mib: number) => room.decode(mib * MIB, async () => { begun.push(at); await gates[at]!.opened })
  // A quarter of the room is for them: 60 and 40 fit, 20 does not yet, and 10 stays behind it.
  const works = [decode(0, 60), decode(1, 40), decode(2, 20), decode(3, 20)]
  await settled()
  assert.deepEqual([begun, sizeOf(room)], [[0, 1], { pictures: 4, bytes: 100 * MIB }])
  await room.decode(10 * MIB, async () => begun.push(9))
  await assert.rejects(Promise.all([1, 2].map(() => room.decode(20 * MIB, async () => {}))), hasCode('QUEUE_FULL'))
  assert.deepEqual(begun, [0, 1, 9], 'a small one passes by')
  gates[1]!.open()
  await works[1]
  await settled()
  assert.deepEqual(begun, [0, 1, 9, 2, 3])
  for (const { open } of gates) open()
  await Promise.all(works)
})

test('one of them is let in however large it is, and only while the room has space for it', async () => {
  const room = new PictureRoom({ picturesMax: 5, bytesMax: 400 * MIB })
  const [first, second] = [gate(), gate()]
  const held = room.hold(100 * MIB, () => first.opened)
  let isBegun = false
  const work = room.decode(350 * MIB, async () => { isBegun = true; await second.opened })
  await settled()
  assert.deepEqual([isBegun, room.bytes], [false, 100 * MIB])
  first.open()
  await held
  await settled()
  assert.deepEqual([isBegun, room.bytes], [true, 350 * MIB])
  second.open()
  await work
  assert.deepEqual(sizeOf(room), { pictures: 0, bytes: 0 })
  await assert.rejects(room.decode(401 * MIB, async () => {}), hasCode('PICTURE_TOO_LARGE', { received: 401 * MIB }))
})

test('who leaves the line lets others on, and a picture that fails gives its room back', async () => {
  const room = new PictureRoom({ picturesMax: 5, bytesMax: 400 * MIB })
  const { opened, open } = gate()
  const client = new AbortController()
  const first = room.decode(80 * MIB, async () => { await opened; throw new Error('broken') })
  const second = room.decode(90 * MIB, async () => assert.fail('its client is gone'), client.signal)
  let isBegun = false
  const third = room.decode(20 * MIB, async () => { isBegun = true })
  await settled()
  assert.equal(isBegun, false)
  client.abort(new Error('gone'))
  await assert.rejects(second, /gone/)
  await third
  assert.equal(isBegun, true)
  open()
  await assert.rejects(first, /broken/)
  await assert.rejects(room.decode(20 * MIB, async () => {}, client.signal), /gone/)
  assert.deepEqual(sizeOf(room), { pictures: 0, bytes: 0 })
})
