/** What of a domain is on trial: canary, shadow with its report, labels. */
import { usePolled } from '../service/poll.js'
import { count, figure, moment, NO_DATA, percent } from '../service/words.js'
import type { Deed } from './deeds.js'
import type { Domain } from '../../../clients/typescript/src/index.js'

const REPORT_EVERY_MS = 5_000

interface TrialProps {
  model: string
  domain: Domain
  may: { read: boolean, change: boolean }
  onDeed: (deed: Deed) => void
}

export function Trial ({ model, domain, may, onDeed }: TrialProps) {
  const { canary, shadow, labels = {} } = domain
  if (canary === undefined && shadow === undefined && Object.keys(labels).length === 0) return null
  const end = (deed: Deed, text: string) => may.change && <button type='button' onClick={() => onDeed(deed)}>{text}</button>
  return (
    <section aria-labelledby='trial'>
      <h2 id='trial'>On trial</h2>
      <ul class='trials'>
        {canary !== undefined && (
          <li>
            <span>Version {canary.version} answers <strong>{canary.percent} %</strong> of the requests as canary.</span>
            {end({ kind: 'end-canary' }, 'End the canary…')}
          </li>
        )}
        {shadow !== undefined && (
          <li>
            <span>Version {shadow.version} runs <strong>{shadow.percent} %</strong> of the rows once more as shadow.</span>
            {end({ kind: 'end-shadow' }, 'End the shadow…')}
          </li>
        )}
        {Object.entries(labels).map(([label, version]) => (
          <li key={label}>
            <span>Version {version} is <code>{domain.domain}:{label}</code>.</span>
            {end({ kind: 'end-label', label }, 'Take it away…')}
          </li>
        ))}
      </ul>
      {shadow !== undefined && may.read && <ShadowReport model={model} domain={domain.domain} version={shadow.version} />}
    </section>
  )
}

function ShadowReport ({ model, domain, version }: { model: string, domain: string, version: number }) {
  const { data: report } = usePolled(`${model}/${domain}:${version}`, REPORT_EVERY_MS, (client, signal) => {
    return client.request('GET /admin/models/{model}/domains/{domain}/shadow', { path: { model, domain } }, { signal })
  })
  if (report === undefined) return null
  const { comparedRows, disagreeingRows, largestRelativeDifference, droppedRows, failedRows, notFiniteRows, since } = report
  if (comparedRows === 0) return <p class='empty'>The shadow’s report: {NO_DATA}.</p>
  return (
    <dl class='figures' title={`since ${moment(since)}`}>
      <div><dt>Rows compared</dt><dd>{count(comparedRows)}</dd></div>
      <div>
        <dt>Another best class</dt>
        <dd>{disagreeingRows === 0 ? 'none' : `${count(disagreeingRows)} (${percent(disagreeingRows / comparedRows)})`}</dd>
      </div>
      <div><dt>Largest difference</dt><dd>{figure(largestRelativeDifference)}</dd></div>
      <div><dt>No room for</dt><dd>{droppedRows === 0 ? 'none' : count(droppedRows)}</dd></div>
      <div><dt>Failed or not finite</dt><dd>{failedRows + notFiniteRows === 0 ? 'none' : count(failedRows + notFiniteRows)}</dd></div>
    </dl>
  )
}
