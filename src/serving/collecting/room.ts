/**
 * Room for rows that wait to be observed. A batch gets room for all its rows before the first is kept, so that one that
 * is begun can be filled: of streams that took each other's room none would ever fill a batch. One caller has at most
 * half of the room, or one batch. A batch that is not full after WAITING_MS makes room for others.
 */
import type { Gathering } from './gathering.js'

export const ROOM_BYTES = 64 * 2 ** 20
export const WAITING_MS = 3_600_000

export interface Waiting {
  readonly caller: string
  readonly gathering: Pick<Gathering, 'batchBytes' | 'waitingSince' | 'drop'>
}

/** Whether a caller's next batch finds room among what waits, of which it may drop what has waited too long. */
export function makeRoom (waiting: readonly Waiting[], caller: string, bytes: number, at: number): boolean {
  const own = waiting.filter((one) => one.caller === caller)
  const isShareEnough = () => bytesOf(own) === 0 || bytesOf(own) + bytes <= ROOM_BYTES / 2
  return dropUntil(isShareEnough, own, at) && dropUntil(() => bytesOf(waiting) + bytes <= ROOM_BYTES, waiting, at)
}

function dropUntil (isEnough: () => boolean, waiting: readonly Waiting[], at: number): boolean {
  for (const { gathering } of waiting) {
    if (isEnough()) return true
    if (at - gathering.waitingSince >= WAITING_MS) gathering.drop()
  }
  return isEnough()
}

function bytesOf (waiting: readonly Waiting[]): number {
  return waiting.reduce((sum, { gathering }) => sum + gathering.batchBytes, 0)
}
