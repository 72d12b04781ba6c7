import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { IDLE_MS, StreamTable, TERM } from '#src/drift/stream-table.js'
import { runSeed } from '../support/run-seed.js'

const STREAMS = 32
const CALLER_STREAMS = 8

interface Kept { seen: number, isTelling: boolean }

const newTable = () => new StreamTable<Kept>({
  streams: STREAMS,
  callerStreams: CALLER_STREAMS,
  begin: () => ({ seen: 0, isTelling: false }),
  shows: ({ isTelling }) => isTelling
})

/** Sends a picture of each of these streams in turn. */
function sendInTurn (table: StreamTable<Kept>, caller: string, streams: number, rounds: number) {
  const seen = new Map<string, number>()
  for (let round = 0; round < rounds; round++) {
    for (let stream = 0; stream < streams; stream++) {
      const kept = table.of(caller, String(stream), round)
      if (kept !== undefined) seen.set(String(stream), Math.max(seen.get(String(stream)) ?? 0, ++kept.seen))
    }
  }
  return seen
}

describe('a table of streams', () => {
  it('follows each of 40 cameras of one caller for a whole term, in turns', () => {
    const seen = sendInTurn(newTable(), 'a', 40, 6 * TERM)
    assert.equal(seen.size, 40)
    for (const [stream, pictures] of seen) assert.ok(pictures >= TERM, `stream ${stream}: ${pictures} pictures`)
  })

  it('lets a stream that shows something keep its place while it does', () => {
    const table = newTable()
    for (let stream = 0; stream < CALLER_STREAMS; stream++) table.of('a', String(stream), 0)!.isTelling = stream < 2
    const telling = table.all().filter(({ isTelling }) => isTelling)
    sendInTurn(table, 'a', 40, 6 * TERM)
    assert.deepEqual(table.all().filter((kept) => telling.includes(kept)).length, 2)
    telling[0]!.isTelling = false
    sendInTurn(table, 'a', 40, 2 * TERM)
    assert.deepEqual(table.all().filter((kept) => telling.includes(kept)), [telling[1]])
  })

  it('gives the place of a silent stream to another of its caller, whatever it has shown', () => {
    const table = newTable()
    for (let stream = 0; stream < CALLER_STREAMS; stream++) table.of('a', String(stream), stream)!.isTelling = true
    assert.equal(table.of('a', 'late', IDLE_MS - 1), undefined)
    assert.notEqual(table.of('a', 'late', IDLE_MS), undefined)
    assert.equal(table.of('a', '0', IDLE_MS), undefined)
    assert.equal(table.size, CALLER_STREAMS)
  })

  it('lets a million streams of one caller have no more than its share, and move nobody else\'s', () => {
    const table = newTable()
    const own = table.of('honest', 'camera', 0)
    for (let at = 0; at < 1_000_000; at++) table.of('hostile', `s${at}`, 0)
    assert.equal(table.size, CALLER_STREAMS + 1)
    assert.equal(table.of('honest', 'camera', 0), own)
    assert.notEqual(table.of('third', 'camera', 0), undefined)
  })

  it('keeps a stream that is not silent, whatever other callers send', () => {
    const sent = fc.record({ caller: fc.constantFrom('b', 'c', 'd', 'e', 'f'), stream: fc.nat(40), isTelling: fc.boolean(), pictures: fc.nat(2 * TERM) })
    fc.assert(fc.property(fc.array(sent, { maxLength: 60 }), (hostile) => {
      const table = newTable()
      const own = table.of('a', 'camera', 0)!
      for (const [at, { caller, stream, isTelling, pictures }] of hostile.entries()) {
        for (let picture = 0; picture < pictures; picture++) {
          const kept = table.of(caller, String(stream), at * IDLE_MS / 2)
          if (kept !== undefined) kept.isTelling = isTelling
        }
        assert.equal(table.of('a', 'camera', at * IDLE_MS / 2), own)
        assert.ok(table.size <= STREAMS)
      }
    }), { seed: runSeed, numRuns: 20 })
  })
})
