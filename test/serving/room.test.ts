import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BATCH } from '#src/serving/collecting/gathering.js'
import { makeRoom, ROOM_BYTES, WAITING_MS } from '#src/serving/collecting/room.js'

class Stream {
  readonly caller: string
  rows = 0
  batches = 0
  readonly gathering = { batchBytes: 0, waitingSince: 0, drop: () => this.end() }

  constructor (caller: string) {
    this.caller = caller
  }

  end () {
    this.rows = 0
    this.gathering.batchBytes = 0
  }

  send (all: readonly Stream[], bytes: number, at: number) {
    if (this.rows === 0) {
      if (!makeRoom(all, this.caller, bytes, at)) return
      Object.assign(this.gathering, { batchBytes: bytes, waitingSince: at })
    }
    if (++this.rows < BATCH) return
    this.batches++
    this.end()
  }
}

const held = (streams: readonly Stream[]) => streams.reduce((sum, { gathering }) => sum + gathering.batchBytes, 0)

test('streams that send in turn all fill batches, however few find room at once', () => {
  for (const bytes of [ROOM_BYTES / 100, ROOM_BYTES / 5, ROOM_BYTES / 2 + 1, ROOM_BYTES]) {
    const streams = Array.from({ length: 8 }, (_, at) => new Stream(at < 6 ? 'a' : 'b'))
    for (let at = 0; at < 20 * BATCH; at++) {
      for (const stream of streams) {
        stream.send(streams, bytes, at)
        assert.ok(held(streams) <= ROOM_BYTES)
      }
    }
    for (const { batches } of streams) assert.ok(batches > 0, `batches of ${bytes} bytes: ${streams.map((stream) => stream.batches).join()}`)
  }
})

test('one caller has at most half of the room, or one batch', () => {
  const streams = Array.from({ length: 8 }, () => new Stream('a'))
  for (const stream of streams) stream.send(streams, ROOM_BYTES / 5, 0)
  assert.equal(held(streams), 2 * ROOM_BYTES / 5)
  const large = [new Stream('a'), new Stream('a')]
  for (const stream of large) stream.send(large, ROOM_BYTES, 0)
  assert.equal(held(large), ROOM_BYTES)
})

test('a batch that is never filled makes room after a while, and not before', () => {
  const [hostile, honest] = [new Stream('hostile'), new Stream('honest')]
  const both = [hostile, honest]
  hostile.send(both, ROOM_BYTES, 0)
  honest.send(both, 1, WAITING_MS - 1)
  assert.deepEqual([hostile.rows, honest.rows], [1, 0])
  honest.send(both, 1, WAITING_MS)
  assert.deepEqual([hostile.rows, honest.rows], [0, 1])
})
