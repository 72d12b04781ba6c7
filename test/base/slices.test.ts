import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { finish, SlicedWork, type Sliced } from '#src/base/slices.js'

/** Notes each of its steps. */
function * stepping (name: string, steps: number, seen: string[]): Sliced<string> {
  for (let step = 0; step < steps; step++) {
    seen.push(`${name}${step}`)
    yield
  }
  return name
}

describe('SlicedWork', () => {
  it('does at once what is short', () => {
    const seen: string[] = []
    const works = new SlicedWork(60_000)
    void works.run(stepping('a', 3, seen))
    assert.deepEqual(seen, ['a0', 'a1', 'a2'])
    assert.equal(works.count, 0)
  })

  it('does long work in turns, and lets the thread do other things in between', async () => {
    const seen: string[] = []
    const works = new SlicedWork(0)
    const all = Promise.all([works.run(stepping('a', 3, seen)), works.run(stepping('b', 3, seen))])
    assert.equal(works.count, 2)
    setImmediate(() => seen.push('other'))
    assert.deepEqual(await all, ['a', 'b'])
    assert.deepEqual(seen, ['a0', 'b0', 'a1', 'other', 'b1', 'a2', 'b2'])
    assert.equal(works.count, 0)
  })

  it('tells what the work throws, at once or later, and goes on with the others', async () => {
    function * failing (steps: number): Sliced<never> {
      yield * stepping('f', steps, [])
      throw new Error('broken')
    }
    const works = new SlicedWork(0)
    const other = works.run(stepping('a', 4, []))
    await assert.rejects(works.run(failing(0)), /broken/)
    await assert.rejects(works.run(failing(2)), /broken/)
    assert.equal(await other, 'a')
    assert.throws(() => finish(failing(1)), /broken/)
  })

  it('gives up what nobody waits for any more', async () => {
    const seen: string[] = []
    const works = new SlicedWork(0)
    const client = new AbortController()
    const work = works.run(stepping('a', 3, seen), client.signal)
    client.abort(new Error('gone'))
    await assert.rejects(work, /gone/)
    assert.deepEqual(seen, ['a0'])
    assert.equal(works.count, 0)
  })
})
