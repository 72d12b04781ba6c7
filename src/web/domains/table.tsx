/** The table of a model's domains. */
import { useState } from 'preact/hooks'
import { Sparkline } from '../parts/plot.js'
import { WindowedTable, type Column } from '../parts/windowed-table.js'
import { age, bytes, DRIFT_STATES, figure, milliseconds, moment, percent, plural, rate } from '../service/words.js'
import { linkTo } from '../service/route.js'
import type { Domain, Traffic } from '../../../clients/typescript/src/index.js'

type Known = Traffic['domains'][number]

export interface DomainRow extends Omit<Known, 'domain'> {
  domain: Domain
}

const failureShare = ({ recent }: DomainRow) => recent === undefined ? undefined : recent.failures / recent.requests

/** What drifts comes first, and of equal states what more speaks for drift. */
const DRIFT_RANKS = { notEnoughSeen: 0, steady: 1, drifting: 2 } as const
const driftRank = ({ drift }: DomainRow) => {
  if (drift === undefined) return undefined
  const { state, eValue = 0 } = drift
  return DRIFT_RANKS[state] + eValue / (1 + eValue)
}

const DRIFT: Column<DomainRow> = { name: 'Drift', kind: 'drift', value: driftRank, isDescending: true }

const COLUMNS: ReadonlyArray<Column<DomainRow>> = [
  { name: 'Domain', value: ({ domain }) => domain.domain },
  { name: 'Active', kind: 'active', value: ({ domain }) => activeOf(domain)?.createdAt, isDescending: true },
  { name: 'On trial', kind: 'trial', value: ({ domain }) => domain.canary?.percent ?? domain.shadow?.percent, isDescending: true },
  { name: 'Requests/s', kind: 'number pace-column', value: ({ recent }) => recent?.perSecond, isDescending: true },
  { name: 'p50', kind: 'number', value: ({ recent }) => recent?.p50Ms, isDescending: true },
  { name: 'p99', kind: 'number', value: ({ recent }) => recent?.p99Ms, isDescending: true },
  { name: 'Errors', kind: 'number', value: failureShare, isDescending: true },
  { name: 'In memory', kind: 'number memory', value: ({ residentBytes }) => residentBytes, isDescending: true },
  { name: 'Pin', kind: 'pin' }
]

const COLUMNS_WITH_DRIFT = COLUMNS.toSpliced(3, 0, DRIFT)

interface TableProps {
  model: string
  rows: DomainRow[]
  /** As many as a sparkline holds. */
  slots: number
  isTrafficKnown: boolean
  /** Without it, there is no column for drift. */
  watchesDrift: boolean
  noData: string
}

export function DomainsTable ({ model, rows, slots, isTrafficKnown, watchesDrift, noData }: TableProps) {
  const [pins, setPins] = useState(() => pinsOf(model))
  const toggle = (domain: string) => {
    const next = new Set(pins)
    if (!next.delete(domain)) next.add(domain)
    localStorage.setItem(storageName(model), JSON.stringify([...next]))
    setPins(next)
  }
  const cells = (row: DomainRow) => {
    const { domain: { domain } } = row
    const isPinned = pins.has(domain)
    return (
      <>
        <NameCell model={model} domain={row.domain} />
        <ActiveCell domain={row.domain} />
        <TrialCell domain={row.domain} />
        {watchesDrift && <DriftCell row={row} noData={noData} />}
        <TrafficCells row={row} slots={slots} noData={isTrafficKnown ? noData : '…'} />
        <td class='number memory'>{row.residentBytes === undefined ? <span class='muted'>not loaded</span> : bytes(row.residentBytes)}</td>
        <td class='pin'>
          <button
            type='button' class='quiet' aria-pressed={isPinned} aria-label={`Pin ${domain}`} title={isPinned ? 'Let go' : 'Keep at the top'}
            onClick={() => toggle(domain)}
          >
            <PinIcon />
          </button>
        </td>
      </>
    )
  }
  return (
    <WindowedTable
      label={`Domains of ${model}`} kind='domains' columns={watchesDrift ? COLUMNS_WITH_DRIFT : COLUMNS} rows={rows} keyOf={({ domain }) => domain.domain}
      isFirst={({ domain }) => pins.has(domain.domain)} cells={cells}
    />
  )
}

function NameCell ({ model, domain: { domain, description, default: isDefault } }: { model: string, domain: Domain }) {
  return (
    <th scope='row' class='name'>
      <a href={linkTo('domain', model, domain)}>{domain}</a>
      {isDefault && <span class='tag'>default</span>}
      {description !== undefined && <span class='second' title={description}>{description}</span>}
    </th>
  )
}

function ActiveCell ({ domain }: { domain: Domain }) {
  const active = activeOf(domain)
  if (active === undefined) return <td><span class='tag warning'>none active</span></td>
  return (
    <td class='active'>
      version {active.version}
      <span class='second' title={moment(active.createdAt)}>{age(active.createdAt)}</span>
    </td>
  )
}

function TrialCell ({ domain: { canary, shadow } }: { domain: Domain }) {
  return (
    <td class='trial'>
      {canary !== undefined && <span class='tag trial-tag'>canary {canary.version} · {canary.percent} %</span>}
      {shadow !== undefined && <span class='tag'>shadow {shadow.version} · {shadow.percent} %</span>}
      {canary === undefined && shadow === undefined && <span class='muted'>–</span>}
    </td>
  )
}

function DriftCell ({ row: { domain, drift }, noData }: { row: DomainRow, noData: string }) {
  if (drift === undefined) return <td class='drift nothing'>{domain.active === null ? '–' : noData}</td>
  const { state, pictures, eValue } = drift
  return (
    <td class='drift'>
      {state === 'drifting' ? <span class='tag warning'>{DRIFT_STATES[state]}</span> : DRIFT_STATES[state]}
      <span class='second' {...eValue === undefined ? {} : { title: `evidence ${figure(eValue)}` }}>{plural(pictures, 'picture')}</span>
    </td>
  )
}

function TrafficCells ({ row: { recent }, slots, noData }: { row: DomainRow, slots: number, noData: string }) {
  if (recent === undefined) return <td colSpan={4} class='number nothing'>{noData}</td>
  const { perSecond, series, p50Ms, p99Ms, failures, requests } = recent
  return (
    <>
      <td class='number'><span class='pace'><Sparkline values={series} length={slots} />{rate(perSecond)}</span></td>
      <td class='number'>{p50Ms === undefined ? '–' : milliseconds(p50Ms)}</td>
      <td class='number'>{p99Ms === undefined ? '–' : milliseconds(p99Ms)}</td>
      <td class={failures > 0 ? 'number bad' : 'number'}>{failures === 0 ? 'none' : percent(failures / Math.max(1, requests))}</td>
    </>
  )
}

function PinIcon () {
  return (
    <svg viewBox='0 0 16 16' width='16' height='16' aria-hidden='true'>
      <path d='M8 1.6l1.9 4 4.3.6-3.1 3 .8 4.4L8 11.5l-3.9 2.1.8-4.4-3.1-3 4.3-.6z' />
    </svg>
  )
}

function activeOf ({ versions }: Domain) {
  return versions.find(({ active }) => active)
}

function storageName (model: string): string {
  return `bankswitch.pins.${model}`
}

/** None where what is stored is none of ours. */
function pinsOf (model: string): Set<string> {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(storageName(model)) ?? '[]')
    return new Set(Array.isArray(stored) ? stored.filter((one) => typeof one === 'string') : [])
  } catch {
    return new Set()
  }
}
