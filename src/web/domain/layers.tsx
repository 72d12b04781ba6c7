/** Layer by layer: how far the active bank lies from another one, and what its statistics are. */
import { useEffect, useState } from 'preact/hooks'
import { bankDifference, type LayerDifference } from '../../bank/difference.js'
import { Fault } from '../parts/dialog.js'
import { useWidth } from '../parts/plot.js'
import { TableFrame } from '../parts/table-frame.js'
import { useSession } from '../service/session.js'
import { figure } from '../service/words.js'
import { rangeOf, readBank, type Range } from './read-bank.js'
import type { Domain } from '../../../clients/typescript/src/index.js'
import type { PartialLayer } from '../../bank/bank.js'

interface LayersProps {
  model: string
  domain: Domain
  /** Domains of the same model, this one too, and the one that it is compared with first. */
  others: readonly string[]
  defaultDomain: string
}

interface Shown {
  bank: ReadonlyMap<string, PartialLayer>
  difference: LayerDifference[] | undefined
}

export function Layers ({ model, domain, others, defaultDomain }: LayersProps) {
  const { client } = useSession()
  const newest = domain.versions.at(-1)?.version
  const [version, setVersion] = useState(domain.active ?? newest)
  const [other, setOther] = useState(() => firstOther(domain, [defaultDomain, ...others]))
  const [shown, setShown] = useState<Shown | undefined>(undefined)
  const [fault, setFault] = useState<unknown>(undefined)
  useEffect(() => {
    const end = new AbortController()
    const { signal } = end
    const load = async () => {
      if (version === undefined) return
      const bank = readBank(await client.download(model, domain.domain, version, { signal }))
      const against = other === undefined ? undefined : await bankOf(other)
      setShown({ bank, difference: against === undefined ? undefined : bankDifference(against, bank) })
      setFault(undefined)
    }
    const bankOf = async (name: string) => {
      const { active } = await client.domain(model, name, { signal })
      return active === null ? undefined : readBank(await client.download(model, name, active, { signal }))
    }
    load().catch((error: unknown) => { if (!signal.aborted) setFault(error) })
    return () => end.abort()
  }, [client, model, domain.domain, version, other])
  return (
    <section aria-labelledby='layers'>
      <div class='section-heading'>
        <h2 id='layers'>Layers</h2>
        <label class='field inline'>
          Version
          <select value={version} onChange={(event) => setVersion(Number(event.currentTarget.value))}>
            {domain.versions.map(({ version }) => <option key={version} value={version}>{version}</option>)}
          </select>
        </label>
        <label class='field inline'>
          against
          <select value={other ?? ''} onChange={(event) => setOther(event.currentTarget.value)}>
            {others.filter((name) => name !== domain.domain).map((name) => <option key={name} value={name}>{name}</option>)}
          </select>
        </label>
      </div>
      {fault !== undefined && <Fault error={fault} />}
      {shown === undefined ? fault === undefined && <p class='empty'>Loading…</p> : <LayersShown {...shown} other={other} />}
    </section>
  )
}

function firstOther ({ domain }: Domain, others: readonly string[]): string | undefined {
  return others.find((name) => name !== domain)
}

function LayersShown ({ bank, difference, other }: Shown & { other: string | undefined }) {
  return (
    <>
      {difference === undefined
        ? <p class='empty'>There is no other bank to compare it with.</p>
        : <ShiftPlot difference={difference} other={other!} />}
      <details>
        <summary>Statistics of each layer</summary>
        <TableFrame label='Statistics of each layer'>
          <table>
            <thead>
              <tr>
                <th scope='col'>layer</th><th scope='col' class='number'>channels</th>
                {['mean', 'variance', 'gamma', 'beta'].map((name) => <th key={name} scope='col' class='number'>{name}: least · median · most</th>)}
              </tr>
            </thead>
            <tbody>
              {[...bank].map(([layer, statistics]) => (
                <tr key={layer}>
                  <th scope='row'><code>{layer}</code></th>
                  <td class='number'>{statistics.mean?.length}</td>
                  {(['mean', 'variance', 'gamma', 'beta'] as const).map((name) => (
                    <td key={name} class='number'>{statistics[name] === undefined ? '–' : rangeText(rangeOf(statistics[name]))}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </TableFrame>
      </details>
    </>
  )
}

function rangeText ({ least, middle, most }: Range): string {
  return [least, middle, most].map(figure).join(' · ')
}

const [ROW, LABEL, FIGURES] = [24, 150, 110]
const WIDTH_MAX = 800

function ShiftPlot ({ difference, other }: { difference: readonly LayerDifference[], other: string }) {
  const [frame, given] = useWidth()
  const whole = Math.min(given, WIDTH_MAX)
  const logRatio = ({ deviationRatio }: LayerDifference) => Math.abs(Math.log(deviationRatio))
  const most = difference.reduce((largest, layer) => Math.max(largest, layer.meanShift, logRatio(layer)), 1e-9)
  const width = (value: number) => (whole - LABEL - FIGURES) * value / most
  const height = ROW * difference.length
  return (
    <figure class='plot shift' ref={frame}>
      <figcaption>
        <span class='plot-title'>How far from <code>{other}</code></span>
        <ul class='legend'>
          <li><span class='key line-0' aria-hidden='true' />shift of means, in standard deviations</li>
          <li><span class='key line-1' aria-hidden='true' />change of spread, |ln| of the ratio</li>
        </ul>
      </figcaption>
      <svg width={whole} height={height} role='img' aria-label='Shift by layer; the table below has the figures'>
        {difference.map((layer, at) => (
          <g key={layer.layer} transform={`translate(0 ${ROW * at})`}>
            <text x={LABEL - 10} y={17} text-anchor='end'>{clipped(layer.layer)}</text>
            <rect class='bar-0' x={LABEL} y={4} width={width(layer.meanShift)} height={8} rx={2} />
            <rect class='bar-1' x={LABEL} y={13} width={width(logRatio(layer))} height={8} rx={2} />
            <text class='figures' x={LABEL + width(Math.max(layer.meanShift, logRatio(layer))) + 8} y={17}>
              {figure(layer.meanShift)}, ×{figure(layer.deviationRatio)}
            </text>
          </g>
        ))}
      </svg>
      <details class='plot-table'>
        <summary>Table<span class='hidden'> of shifts by layer</span></summary>
        <TableFrame label='Shifts by layer'>
          <table>
            <thead>
              <tr>
                {['layer', 'channels', 'shift of means', 'ratio of spreads', 'distance', 'worst channel'].map((name, at) => (
                  <th key={name} scope='col' class={at === 0 ? '' : 'number'}>{name}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {difference.map(({ layer, channels, meanShift, deviationRatio, distance, worstChannel }) => (
                <tr key={layer}>
                  <th scope='row'><code>{layer}</code></th>
                  <td class='number'>{channels}</td><td class='number'>{figure(meanShift)}</td><td class='number'>{figure(deviationRatio)}</td>
                  <td class='number'>{figure(distance)}</td><td class='number'>{worstChannel}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </TableFrame>
      </details>
    </figure>
  )
}

function clipped (name: string): string {
  return name.length > 20 ? `…${name.slice(-19)}` : name
}
