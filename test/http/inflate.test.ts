/** Compressed bodies, whatever they say of themselves. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { deflateSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { inflateBody, type Encoding, type InflateAside } from '#src/http/limits/inflate.js'
import { BodyThread } from '#src/http/open-inference/body-thread.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'

const KIB = 2 ** 10
const MIB = 2 ** 20
/** Beyond it a body goes to the thread. */
const AT_ONCE = 2 ** 18
const SQUEEZE = { gzip: gzipSync, deflate: deflateSync }
const ENCODINGS = Object.keys(SQUEEZE) as Encoding[]
const never = new AbortController().signal

/** Bytes that compress somewhat, seeded by their length. */
const bytesOf = (length: number) => Buffer.from(Uint8Array.from({ length }, (_, at) => Math.floor(20 * Math.sin(at) ** 2 + at / 1000)))

/** As a body that was read has it: in memory of its own, which can be given away. */
const owned = (bytes: Uint8Array): Uint8Array => Uint8Array.from(bytes)

/** Ends as if it were of this length. */
function telling (length: number, gzip: Buffer): Buffer {
  const lying = Buffer.from(gzip)
  lying.writeUInt32LE(length, gzip.length - 4)
  return lying
}

describe('a compressed body', () => {
  let thread: BodyThread
  before(() => { thread = new BodyThread(MIB) })
  after(() => thread.close())

  /** Inflates, and tells what is held at most and in the end, and how often the thread was asked. */
  const inflate = async (encoding: Encoding, compressed: Uint8Array, bytesMax: number, begin = 0, signal = never) => {
    let held = compressed.length
    const seen = { heldMax: held, asked: 0 }
    const share = {
      add (bytes: number) {
        held += bytes
        seen.heldMax = Math.max(seen.heldMax, held)
      },
      giveBack (bytes: number) { held -= bytes },
      signal
    }
    const aside: InflateAside = (task, signal) => {
      seen.asked++
      return thread.inflate(task, signal)
    }
    const inflated = await inflateBody(encoding, owned(compressed), { bytesMax, share, begin, aside })
    return { inflated, held, ...seen }
  }

  it('of any length comes back as it was, aligned, and counts as long as it is', async () => {
    const lengths = fc.oneof(fc.nat(5000), fc.integer({ min: AT_ONCE - 2, max: AT_ONCE + 2 }), fc.integer({ min: 0, max: 3 * MIB }))
    await fc.assert(fc.asyncProperty(lengths, fc.nat(7), fc.constantFrom(...ENCODINGS), async (length, begin, encoding) => {
      const bytes = bytesOf(length)
      const { inflated, held } = await inflate(encoding, SQUEEZE[encoding](bytes), 3 * MIB, begin)
      assert.ok(bytes.equals(inflated))
      assert.equal(inflated.byteOffset, begin)
      assert.equal(inflated.buffer.byteLength, begin + length)
      assert.equal(held, length)
    }), { seed: runSeed, numRuns: 40 })
  })

  for (const encoding of ENCODINGS) {
    it(`in ${encoding} may be as long as is allowed, and a byte more is too large`, async () => {
      for (const length of [1, 2000, AT_ONCE, 2 * MIB]) {
        const compressed = SQUEEZE[encoding](bytesOf(length))
        const max = Math.max(length, compressed.length)
        assert.equal((await inflate(encoding, compressed, max)).inflated.length, length)
        if (length > compressed.length) await assert.rejects(inflate(encoding, compressed, length - 1), hasCode('REQUEST_TOO_LARGE'))
      }
    })
  }

  it('that says how long it is holds no more than that, and is inflated once', async () => {
    const { heldMax, asked } = await inflate('gzip', gzipSync(bytesOf(2 * MIB)), 64 * MIB)
    assert.ok(heldMax < 2 * MIB + gzipSync(bytesOf(2 * MIB)).length + 1)
    assert.equal(asked, 1)
  })

  it('that says it is too long is refused unread', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * MIB))
    assert.ok(bomb.length < 70 * KIB)
    let asked = 0
    const bounds = {
      bytesMax: 8 * MIB,
      begin: 0,
      share: { add: () => assert.fail(), giveBack: () => {}, signal: never },
      aside: async () => { asked++; return { body: bomb } }
    }
    await assert.rejects(inflateBody('gzip', bomb, bounds), hasCode('REQUEST_TOO_LARGE', {
      expected: `at most ${8 * MIB} bytes`, received: 64 * MIB
    }))
    assert.equal(asked, 0)
  })

  it('that lies about its length is inflated up to the limit and then refused, as too large or as broken', async () => {
    for (const [length, told, max, code] of [
      [4 * MIB, 100, 2 * MIB, 'REQUEST_TOO_LARGE'],
      [4 * MIB, MIB, 2 * MIB, 'REQUEST_TOO_LARGE'],
      [MIB, 100, 2 * MIB, 'CONTENT_ENCODING_INVALID'],
      [1000, MIB, 2 * MIB, 'CONTENT_ENCODING_INVALID']
    ] as const) {
      const lying = telling(told, gzipSync(bytesOf(length)))
      await assert.rejects(inflate('gzip', lying, max), hasCode(code), `${length} told as ${told}`)
    }
  })

  it('of several members is one body', async () => {
    const parts = [bytesOf(MIB), bytesOf(10)]
    const { inflated, held } = await inflate('gzip', Buffer.concat(parts.map((part) => gzipSync(part))), 2 * MIB)
    assert.ok(Buffer.concat(parts).equals(inflated))
    assert.equal(held, MIB + 10)
  })

  it('that is cut off, or no such body, is refused as broken', async () => {
    for (const encoding of ENCODINGS) {
      for (const length of [1000, MIB]) {
        const compressed = SQUEEZE[encoding](bytesOf(length))
        for (const broken of [compressed.subarray(0, -5), compressed.subarray(0, 1), compressed.subarray(1), new Uint8Array(0), bytesOf(length)]) {
          // Whatever the length that its last bytes happen to tell.
          await assert.rejects(inflate(encoding, broken, 1024 * MIB), hasCode('CONTENT_ENCODING_INVALID'))
        }
      }
    }
  })

  it('is let go of when its client leaves while it waits for the thread', async () => {
    const leaving = new AbortController()
    const compressed = gzipSync(bytesOf(MIB))
    const first = inflate('gzip', compressed, 2 * MIB)
    const second = inflate('gzip', compressed, 2 * MIB, 0, leaving.signal)
    leaving.abort(new Error('gone'))
    await assert.rejects(second, /gone/)
    assert.equal((await first).inflated.length, MIB)
  })
})
