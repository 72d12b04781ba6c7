/**
 * Random requests beside random changes of the domains that they ask. Whatever the order, each request is answered by
 * one version that was the right one when it was chosen, no version goes while it is held, and nothing stays held.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { leaseKey } from '#src/serving/leases.js'
import { seededUniform } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'
import { openHouse, pictures, scoresOf, type House } from '../support/served.js'
import type { Gate } from '../support/gate.js'

const DOMAINS = ['day', 'night', 'fog']
const STEPS = 400
const UNDER_WAY_MAX = 6

/** Of a domain, what stands there now. */
interface Known { active: number | null, shifts: Map<number, number> }

interface UnderWay {
  gate: Gate
  /** Settled with what came of it. */
  work: Promise<void>
  holds: ReadonlySet<string>
}

class Run {
  readonly house: House
  readonly known = new Map<string, Known>()
  readonly underWay: UnderWay[] = []
  readonly done = { answered: 0, refused: 0, removed: 0, kept: 0 }
  readonly #uniform: () => number
  #shift = 0

  constructor (house: House, seed: number) {
    this.house = house
    this.#uniform = seededUniform(seed)
  }

  pick<T> (from: readonly T[]): T {
    return from[Math.floor(this.#uniform() * from.length)]!
  }

  /** A domain, perhaps with a pin, and what must answer it now. */
  reference (): { text: string, version: number | null, shift: number | undefined, domain: string } {
    const domain = this.pick(DOMAINS)
    const { active, shifts } = this.known.get(domain)!
    const isPinned = shifts.size > 0 && this.#uniform() < 0.5
    const version = isPinned ? this.pick([...shifts.keys()]) : active
    return { text: isPinned ? `${domain}:${version}` : domain, version, shift: shifts.get(version ?? 0), domain }
  }

  async request (): Promise<void> {
    const rows = Array.from({ length: 1 + Math.floor(this.#uniform() * 4) }, () => this.reference())
    const isMixed = rows.length > 1
    const isRight = rows.every(({ shift }) => shift !== undefined)
    const held = this.house.pool.hold()
    const texts = rows.map(({ text }) => text)
    const asked = isMixed
      ? this.house.answering.inferMixed('signs', { wish: {}, rows: texts, feeds: pictures(rows.length) })
      : this.house.answering.infer('signs', { wish: { header: texts[0]! }, feeds: pictures(1) })
    const work = asked.then((answer) => {
      const expected = rows.flatMap(({ shift }, at) => [at + 1 + shift!, at + 1 - shift!])
      assert.ok(isRight, `${texts.join()} was answered`)
      assert.deepEqual(scoresOf(answer), expected, texts.join())
      this.done.answered++
    }, (error: { code?: string }) => {
      assert.ok(!isRight, `${texts.join()}: ${error.code}`)
      held.open()
      this.done.refused++
    })
    await Promise.race([held.reached, work])
    if (!isRight) {
      // Its gate is still there for the next one; a request of no rows' bank takes it away.
      await this.#passGate()
      return
    }
    this.underWay.push({ gate: held, work, holds: new Set(rows.map(({ domain, version }) => `${domain}:${version}`)) })
  }

  async #passGate (): Promise<void> {
    await this.house.pool.submit([])
  }

  async finishOne (): Promise<void> {
    if (this.underWay.length === 0) return
    const at = Math.floor(this.#uniform() * this.underWay.length)
    const [one] = this.underWay.splice(at, 1) as [UnderWay]
    one.gate.open()
    await one.work
  }

  async publish (): Promise<void> {
    const domain = this.pick(DOMAINS)
    const { active, versions } = await this.house.publish(domain, ++this.#shift, { isActivated: this.#uniform() < 0.6 })
    const known = this.known.get(domain) ?? { active: null, shifts: new Map() }
    known.shifts.set(versions.at(-1)!.version, this.#shift)
    this.known.set(domain, { ...known, active })
  }

  async remove (): Promise<void> {
    const { domain, version } = this.reference()
    if (version === null) return
    const isHeld = this.underWay.some(({ holds }) => holds.has(`${domain}:${version}`))
    const { active, shifts } = this.known.get(domain)!
    const code = await this.house.admin.removeVersion('signs', domain, version).then(() => undefined, (error: { code: string }) => error.code)
    assert.equal(this.house.leases.count(leaseKey('signs', domain, version)) > 0, isHeld)
    if (isHeld) assert.equal(code, 'VERSION_LEASED')
    else assert.equal(code, version === active ? 'VERSION_ACTIVE' : undefined)
    if (code === undefined) {
      shifts.delete(version)
      this.done.removed++
    } else {
      this.done.kept++
    }
  }

  async switchOff (): Promise<void> {
    const domain = this.pick(DOMAINS.slice(1))
    await this.house.admin.deactivate('signs', domain)
    this.known.get(domain)!.active = null
  }
}

test('requests beside changes are answered by the version they chose', async () => {
  const house = await openHouse()
  const run = new Run(house, runSeed)
  run.known.set('day', { active: 1, shifts: new Map([[1, 0]]) })
  for (const domain of DOMAINS.slice(1)) {
    await house.publish(domain, 1000)
    run.known.set(domain, { active: 1, shifts: new Map([[1, 1000]]) })
  }
  const steps = [
    ...Array.from({ length: 5 }, () => () => run.request()), ...Array.from({ length: 4 }, () => () => run.finishOne()),
    () => run.publish(), () => run.publish(), () => run.remove(), () => run.remove(), () => run.switchOff()
  ]
  for (let step = 0; step < STEPS; step++) {
    if (run.underWay.length === UNDER_WAY_MAX) await run.finishOne()
    await run.pick(steps)()
  }
  while (run.underWay.length > 0) await run.finishOne()
  assert.equal(house.held(), 0)
  for (const [what, count] of Object.entries(run.done)) assert.ok(count > 0, `nothing was ${what}`)
})

test('rows of any mixture are what each would be alone', async () => {
  const house = await openHouse()
  const uniform = seededUniform(runSeed + 1)
  for (const [at, domain] of ['night', 'fog', 'rain'].entries()) {
    for (let version = 0; version < 3; version++) await house.publish(domain, 10 * (at + 1) + version)
  }
  const texts = ['', 'night', 'night:1', 'fog:2', 'fog', 'rain:active', 'rain:3', 'day']
  for (let request = 0; request < 40; request++) {
    const rows = Array.from({ length: 1 + Math.floor(uniform() * 12) }, () => texts[Math.floor(uniform() * texts.length)]!)
    const feeds = pictures(rows.length)
    const whole = scoresOf(await house.answering.inferMixed('signs', { wish: {}, rows, feeds }))
    for (const [row, text] of rows.entries()) {
      const alone = { x: { ...feeds.x!, dims: [1, 3, 1, 1], data: (feeds.x!.data as Float32Array).slice(3 * row, 3 * row + 3) } }
      const wish = text === '' ? {} : { header: text }
      const answer = await house.answering.infer('signs', { wish, feeds: alone })
      assert.deepEqual(whole.slice(2 * row, 2 * row + 2), scoresOf(answer), `${rows.join()}, row ${row}`)
    }
  }
  assert.equal(house.held(), 0)
})
