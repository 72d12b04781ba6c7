/** How figures are told. */

export const NO_DATA = 'no data yet'

export const DRIFT_STATES = {
  noSignature: 'no signature', notEnoughSeen: 'not enough seen', steady: 'steady', drifting: 'drifting'
} as const

export function milliseconds (ms: number): string {
  if (ms >= 10_000) return `${(ms / 1000).toFixed(0)} s`
  if (ms >= 1_000) return `${(ms / 1000).toFixed(1)} s`
  return `${ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2)} ms`
}

export function bytes (count: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let at = 0
  while (count >= 1000 && at < units.length - 1) [count, at] = [count / 1000, at + 1]
  return `${at === 0 || count >= 100 ? count.toFixed(0) : count.toFixed(1)} ${units[at]}`
}

/** Two latencies in one unit: `5.4 / 58 ms`. */
export function pair (first: number, second: number): string {
  const [last, unit] = milliseconds(second).split(' ') as [string, string]
  const told = milliseconds(first)
  return `${told.endsWith(` ${unit}`) ? told.split(' ')[0] : told} / ${last} ${unit}`
}

export function rate (perSecond: number): string {
  if (Number.isInteger(perSecond)) return count(perSecond)
  return perSecond >= 100 ? perSecond.toFixed(0) : perSecond >= 10 ? perSecond.toFixed(1) : perSecond.toFixed(2)
}

export function percent (share: number): string {
  const value = 100 * share
  return `${value === 0 || value >= 10 ? value.toFixed(0) : value.toFixed(value >= 1 ? 1 : 2)} %`
}

export function count (number: number): string {
  return number.toLocaleString('en')
}

/** How long ago: `3 min`, `2 d`. */
export function age (time: string, now = Date.now()): string {
  const seconds = Math.max(0, (now - Date.parse(time)) / 1000)
  if (seconds < 60) return 'just now'
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ago`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ago`
  return `${Math.floor(seconds / 86_400)} d ago`
}

/** In the reader's own zone. */
export function moment (time: string): string {
  return new Date(time).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' })
}

/** A number with three digits that count. */
export function figure (value: number): string {
  const size = Math.abs(value)
  if (size !== 0 && (size < 0.001 || size >= 100_000)) return value.toExponential(1)
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3)
}

/** `3 pictures`, `1 picture`. */
export function plural (number: number, word: string): string {
  return `${count(number)} ${word}${number === 1 ? '' : 's'}`
}
