/** Plots as SVG, each with its table for those who read rather than look. */
import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import { NO_DATA } from '../service/words.js'
import type { RefObject } from 'preact'

export interface Line {
  name: string
  values: ReadonlyArray<number | null>
}

interface PlotProps {
  title: string
  lines: readonly Line[]
  /** Seconds from one value to the next; the last is now. */
  slotSeconds: number
  told: (value: number) => string
  isSkewed?: boolean
}

const [HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [190, 62, 4, 10, 24]

/** Minutes that the width may hold: as few as hold all, so that a service that has just begun has more than a dot. */
const SPANS = [10, 30, 60]

/** Rows of the table: more would be no easier to read than the plot. */
const TABLE_ROWS = 12

export function Plot ({ title, lines, slotSeconds, told, isSkewed }: PlotProps) {
  const [frame, width] = useWidth()
  const [pointed, setPointed] = useState<number | undefined>(undefined)
  const length = Math.max(0, ...lines.map(({ values }) => values.length))
  const span = SPANS.find((minutes) => minutes * 60 >= length * slotSeconds) ?? SPANS.at(-1)!
  const slots = Math.round(span * 60 / slotSeconds)
  const all = lines.flatMap(({ values }) => values.filter((value) => value !== null))
  const scale = scaleOf(all, isSkewed === true)
  const x = (at: number) => LEFT + (width - LEFT - RIGHT) * (slots - length + at) / Math.max(1, slots - 1)
  const y = (value: number) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * scale.share(value)
  const point = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect()
    const at = ((event.clientX - box.left) / box.width * width - LEFT) / (width - LEFT - RIGHT) * (slots - 1)
    const index = Math.round(at) - (slots - length)
    setPointed(index >= 0 && index < length ? index : undefined)
  }
  return (
    <figure class='plot' ref={frame}>
      <figcaption>
        <span class='plot-title'>{title}</span>
        <ul class='legend'>
          {lines.map(({ name, values }, at) => {
            // Of now there may be nothing yet.
            const value = pointed === undefined ? values.findLast((value) => value !== null) : values[pointed]
            return (
              <li key={name}>
                <span class={`key line-${at}`} aria-hidden='true' />{name}
                <span class='value'>{value === null || value === undefined ? '–' : told(value)}</span>
              </li>
            )
          })}
        </ul>
      </figcaption>
      {all.length === 0
        ? <p class='empty'>{NO_DATA}</p>
        : (
          <svg
            width={width} height={HEIGHT} role='img' aria-label={`${title}; the table below has the figures`}
            onPointerMove={point} onPointerLeave={() => setPointed(undefined)}
          >
            {scale.ticks.map((tick) => (
              <g key={tick}>
                <line class='grid' x1={LEFT} x2={width - RIGHT} y1={y(tick)} y2={y(tick)} />
                <text x={LEFT - 8} y={y(tick) + 4} text-anchor='end'>{shortened(told(tick))}</text>
              </g>
            ))}
            {[1, 0.5, 0].map((share) => (
              <text
                key={share} y={HEIGHT - 6} text-anchor={share === 1 ? 'start' : share === 0 ? 'end' : 'middle'}
                x={width - RIGHT - (width - LEFT - RIGHT) * share}
              >
                {share === 0 ? 'now' : `${span * share} min ago`}
              </text>
            ))}
            {pointed !== undefined && <line class='pointer' x1={x(pointed)} x2={x(pointed)} y1={TOP} y2={HEIGHT - BOTTOM} />}
            {lines.map(({ name, values }, at) => (
              <path key={name} class={`line line-${at}`} d={pathOf(values, x, y)} />
            ))}
          </svg>
          )}
      <PlotTable title={title} lines={lines} length={length} slotSeconds={slotSeconds} told={told} />
    </figure>
  )
}

/** Of what stands in the frame, so that text keeps its size. */
export function useWidth (): [RefObject<HTMLElement | null>, number] {
  const frame = useRef<HTMLElement>(null)
  const [width, setWidth] = useState(480)
  useLayoutEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.max(240, Math.floor(entry!.contentRect.width))))
    watch.observe(frame.current!)
    return () => watch.disconnect()
  }, [])
  return [frame, width]
}

/** From 0, or on a logarithmic scale where values differ by orders of magnitude. */
function scaleOf (values: readonly number[], isSkewed: boolean) {
  const most = values.reduce((largest, value) => Math.max(largest, value), 0)
  if (!isSkewed || most === 0) {
    const top = roundUp(most === 0 ? 1 : most)
    return { ticks: [0, top / 2, top], share: (value: number) => value / top }
  }
  const least = values.reduce((smallest, value) => value > 0 ? Math.min(smallest, value) : smallest, most)
  const [low, high] = [Math.floor(Math.log10(least)), Math.max(Math.ceil(Math.log10(most)), Math.floor(Math.log10(least)) + 1)]
  const step = Math.max(1, Math.ceil((high - low) / 4))
  const ticks = Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, at) => 10 ** (low + at * step))
  return { ticks, share: (value: number) => Math.max(0, (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)) }
}

/** `1.00 ms` is no more exact than `1 ms` where a line stands for it. */
function shortened (text: string): string {
  return text.replace(/(\.\d*?)0+(?= |$)/, '$1').replace(/\.(?= |$)/, '')
}

function roundUp (value: number): number {
  const unit = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 4, 5, 10].map((factor) => factor * unit).find((top) => top >= value)!
}

/** Broken where there is nothing; a lone value becomes a dot by the round ends of the line. */
function pathOf (values: Line['values'], x: (at: number) => number, y: (value: number) => number): string {
  let path = ''
  for (const [at, value] of values.entries()) {
    if (value === null) continue
    const isBegun = at > 0 && values[at - 1] !== null
    path += `${isBegun ? 'L' : 'M'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`
    if (!isBegun && (values[at + 1] ?? null) === null) path += 'h0.1'
  }
  return path
}

function PlotTable ({ title, lines, length, slotSeconds, told }: Pick<PlotProps, 'title' | 'lines' | 'slotSeconds' | 'told'> & { length: number }) {
  const step = Math.max(1, Math.ceil(length / TABLE_ROWS))
  const rows = Array.from({ length: Math.ceil(length / step) }, (_, at) => length - 1 - at * step)
  const ago = (at: number) => {
    const minutes = (length - 1 - at) * slotSeconds / 60
    return minutes === 0 ? 'now' : `${minutes % 1 === 0 ? minutes : minutes.toFixed(2)} min ago`
  }
  return (
    <details class='plot-table'>
      <summary>Table<span class='hidden'> of {title}</span></summary>
      <table>
        <thead><tr><th scope='col'>when</th>{lines.map(({ name }) => <th key={name} scope='col' class='number'>{name}</th>)}</tr></thead>
        <tbody>
          {rows.map((at) => (
            <tr key={at}>
              <th scope='row'>{ago(at)}</th>
              {lines.map(({ name, values }) => {
                const value = values[at]
                return <td key={name} class='number'>{value === null || value === undefined ? NO_DATA : told(value)}</td>
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  )
}

/** Small, beside its own figure, which says in words what it shows. */
export function Sparkline ({ values, length }: { values: readonly number[], length: number }) {
  const [width, height] = [72, 20]
  const most = Math.max(1, ...values)
  const points = values.map((value, at) => {
    const x = width * (length - values.length + at) / Math.max(1, length - 1)
    return `${x.toFixed(1)},${(height - 1.5 - (height - 3) * value / most).toFixed(1)}`
  })
  return (
    <svg class='sparkline' viewBox={`0 0 ${width} ${height}`} width={width} height={height} aria-hidden='true'>
      <polyline points={points.join(' ')} />
    </svg>
  )
}
