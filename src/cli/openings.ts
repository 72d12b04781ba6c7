/**
 * Sessions timed beside each other, in this thread. Of small networks the session that was opened last is about one
 * percent faster for as long as it lives, so the rounds are shared out among several openings of all, in either order.
 */
import { joined, measure, type Timing } from './measure.js'
import type { PlainTensor, Session } from '../ort/session.js'

/** Of all sessions, one after another; half of them in the other order. */
const OPENINGS = 6

/** What is opened and timed. */
export interface Opening {
  name: string
  open (): Promise<Session>
  /** For so many rows. */
  feedsOf (rows: number, session: Session): Record<string, PlainTensor>
}

export interface OpeningsOptions {
  /** Rows of one inference. */
  rows: number
  /** Of all openings together. */
  rounds: number
  /** Rounds of every opening that do not count. */
  warmUp?: number
  /** Called once, with the sessions of the first opening in the order of what was given. */
  inspect? (sessions: readonly Session[]): Promise<void>
}

/** In the order of what was given. Rejects with what opening, running and `inspect` reject with. */
export async function measureOpenings (given: readonly Opening[], options: OpeningsOptions): Promise<Timing[]> {
  const { rows, rounds, warmUp, inspect } = options
  const openings = Math.min(OPENINGS, rounds)
  const parts: Timing[][] = []
  for (let opening = 0; opening < openings; opening++) {
    const share = Math.floor((opening + 1) * rounds / openings) - Math.floor(opening * rounds / openings)
    await withSessions(given, opening % 2 === 1, async (sessions) => {
      const contenders = given.map(({ name, feedsOf }, at) => {
        const session = sessions[at]!
        const feeds = feedsOf(rows, session)
        return { name, run: () => session.run(feeds) }
      })
      parts.push(await measure(contenders, share, warmUp))
      if (opening === 0) await inspect?.(sessions)
    })
  }
  return joined(parts)
}

async function withSessions (
  given: readonly Opening[], isReversed: boolean, use: (sessions: readonly Session[]) => Promise<void>
): Promise<void> {
  const opened = new Map<Opening, Session>()
  try {
    for (const one of isReversed ? given.toReversed() : given) opened.set(one, await one.open())
    await use(given.map((one) => opened.get(one)!))
  } finally {
    for (const session of opened.values()) await session.release()
  }
}
