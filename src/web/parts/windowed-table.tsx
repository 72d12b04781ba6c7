/** A table of any length of which only the rows in sight are in the document; headings sort it. */
import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { ComponentChildren } from 'preact'

export interface Column<Row> {
  name: string
  /** Of what stands in it, for the style. */
  kind?: string
  /** What it is sorted by; undefined comes last. Without it, it does not sort. */
  value?: (row: Row) => string | number | undefined
  /** Whether the largest come first at the first click. */
  isDescending?: boolean
}

interface TableProps<Row> {
  label: string
  /** For the style. */
  kind: string
  columns: ReadonlyArray<Column<Row>>
  rows: readonly Row[]
  keyOf: (row: Row) => string
  /** Those for which this is true come first, however the table is sorted. */
  isFirst: (row: Row) => boolean
  cells: (row: Row) => ComponentChildren
}

/** As the style has it. */
const ROW_PX = 52

/** Rows beyond what is in sight, so that scrolling does not show what is not there yet. */
const SPARE = 8

/** Up to so many rows there is nothing to be gained. */
const WHOLE_MAX = 40

export function WindowedTable<Row> ({ label, kind, columns, rows, keyOf, isFirst, cells }: TableProps<Row>) {
  const [order, setOrder] = useState<{ name: string, isDescending: boolean }>({ name: columns[0]!.name, isDescending: false })
  const [view, setView] = useState({ top: 0, height: 800 })
  const frame = useRef<HTMLDivElement>(null)
  const look = () => {
    const { scrollTop, clientHeight } = frame.current!
    const top = Math.floor(scrollTop / ROW_PX)
    setView((before) => before.top === top && before.height === clientHeight ? before : { top, height: clientHeight })
  }
  useLayoutEffect(look, [rows.length > WHOLE_MAX])
  const sorted = sortedBy(rows, columns.find(({ name }) => name === order.name), order.isDescending, isFirst)
  const isWhole = rows.length <= WHOLE_MAX
  const begin = isWhole ? 0 : Math.max(0, Math.min(view.top, rows.length) - SPARE)
  const end = isWhole ? rows.length : Math.min(rows.length, view.top + Math.ceil(view.height / ROW_PX) + SPARE)
  const sortBy = ({ name, isDescending = false }: Column<Row>) => {
    setOrder({ name, isDescending: order.name === name ? !order.isDescending : isDescending })
  }
  return (
    <div
      class={isWhole ? 'frame' : 'frame scrolling'} ref={frame} onScroll={look}
      // The keyboard scrolls what it can reach.
      {...isWhole ? {} : { tabIndex: 0, role: 'region', 'aria-label': `${label}, scrolls` }}
    >
      <table class={`wide ${kind}`} aria-rowcount={rows.length + 1}>
        <caption class='hidden'>{label}</caption>
        <thead>
          <tr aria-rowindex={1}>
            {columns.map((column) => (
              <th
                key={column.name} scope='col' class={column.kind}
                {...column.name === order.name ? { 'aria-sort': order.isDescending ? 'descending' : 'ascending' } as const : {}}
              >
                {column.value === undefined
                  ? <span class='hidden'>{column.name}</span>
                  : <button type='button' class='sort' onClick={() => sortBy(column)}>{column.name}<i aria-hidden='true' /></button>}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {begin > 0 && <Space rows={begin} columns={columns.length} />}
          {sorted.slice(begin, end).map((row, at) => <tr key={keyOf(row)} aria-rowindex={begin + at + 2}>{cells(row)}</tr>)}
          {end < rows.length && <Space rows={rows.length - end} columns={columns.length} />}
        </tbody>
      </table>
    </div>
  )
}

/** Has a cell, because rows without one have no height. */
function Space ({ rows, columns }: { rows: number, columns: number }) {
  return <tr aria-hidden='true' class='space' style={{ height: `${rows * ROW_PX}px` }}><td colSpan={columns} /></tr>
}

function sortedBy<Row> (
  rows: readonly Row[], column: Column<Row> | undefined, isDescending: boolean, isFirst: (row: Row) => boolean
): Row[] {
  const value = column?.value ?? (() => undefined)
  const keyed = rows.map((row) => ({ row, isFirst: isFirst(row), value: value(row) }))
  keyed.sort((a, b) => {
    if (a.isFirst !== b.isFirst) return a.isFirst ? -1 : 1
    if (a.value === undefined || b.value === undefined) return Number(a.value === undefined) - Number(b.value === undefined)
    const order = typeof a.value === 'string'
      ? COLLATOR.compare(a.value, String(b.value))
      : a.value - Number(b.value)
    return isDescending ? -order : order
  })
  return keyed.map(({ row }) => row)
}

const COLLATOR = new Intl.Collator('en', { numeric: true })
