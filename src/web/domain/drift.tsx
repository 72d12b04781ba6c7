/** Whether the pictures are still those of the domain: how sure that is, what moved, and what they look like instead. */
import { Fault } from '../parts/dialog.js'
import { TableFrame } from '../parts/table-frame.js'
import { usePolled } from '../service/poll.js'
import { linkTo } from '../service/route.js'
import { count, DRIFT_STATES, figure, moment, NO_DATA, percent } from '../service/words.js'
import type { Domain, Drift as Report } from '../../../clients/typescript/src/index.js'

const REPORT_EVERY_MS = 5_000

interface DriftProps {
  model: string
  domain: Domain
  /** Whether the server looks for it. */
  isWatched: boolean
}

export function Drift ({ model, domain: { domain, active }, isWatched }: DriftProps) {
  const about = isWatched && active !== null ? `${model}/${domain}:${active}` : undefined
  const { data: report, error } = usePolled(about, REPORT_EVERY_MS, (client, signal) => client.drift(model, domain, { signal }))
  return (
    <section aria-labelledby='drift'>
      <h2 id='drift'>Drift</h2>
      {!isWatched
        ? <p class='empty'>Nobody looks for drift here: the setting <code>BANKSWITCH_DRIFT_ERT</code> asks for it.</p>
        : active === null
          ? <p class='empty'>No version is active, and only an active one is watched.</p>
          : report === undefined
            ? error === undefined ? <p class='empty'>Loading…</p> : <Fault error={error} />
            : <ReportShown model={model} report={report} />}
    </section>
  )
}

function ReportShown ({ model, report }: { model: string, report: Report }) {
  const { state, pictures, eValue, since, driftingSince, streams, nearest, moved = [], share } = report
  if (state === 'noSignature') {
    return (
      <p class='empty'>
        The active version has no signature, so that there is nothing to compare pictures with.
        {' '}<code>bankswitch signature</code> makes one.
      </p>
    )
  }
  if (pictures === undefined) return <p class='empty'>{NO_DATA}: {percent(share)} of the pictures are looked at.</p>
  const begin = driftingSince ?? since
  return (
    <>
      <dl class='figures'>
        <div>
          <dt>State</dt>
          <dd>{state === 'drifting' ? <span class='tag warning'>{DRIFT_STATES[state]}</span> : DRIFT_STATES[state]}</dd>
        </div>
        <div><dt>Evidence of drift</dt><dd>{eValue === undefined ? '–' : figure(eValue)}</dd></div>
        <div><dt>Pictures looked at</dt><dd>{count(pictures)}</dd></div>
        {begin !== undefined && <div><dt>{driftingSince === undefined ? 'Watched since' : 'Drifting since'}</dt><dd>{moment(begin)}</dd></div>}
        {streams !== undefined && <div><dt>Streams that drift</dt><dd>{streamsText(streams)}</dd></div>}
        <div><dt>Nearest other domain</dt><dd>{nearest === undefined ? '–' : <a href={linkTo('domain', model, nearest)}>{nearest}</a>}</dd></div>
      </dl>
      {moved.length > 0 && <Moved moved={moved} />}
    </>
  )
}

function streamsText ({ watched, drifting }: NonNullable<Report['streams']>): string {
  return drifting === 0 ? `none of ${count(watched)}` : `${count(drifting)} of ${count(watched)}`
}

function Moved ({ moved }: { moved: NonNullable<Report['moved']> }) {
  const largest = moved.reduce((most, { shift }) => Math.max(most, Math.abs(shift)), 1e-9)
  return (
    <TableFrame label='What moved most'>
      <table class='moved'>
        <caption>What moved most over the last pictures, in standard deviations of one picture</caption>
        <thead>
          <tr>
            <th scope='col'>Layer and channel</th>
            <th scope='col'>What of it</th>
            <th scope='col' class='number'>Shift</th>
            <th scope='col' class='pair'><span class='hidden'>As a bar</span></th>
          </tr>
        </thead>
        <tbody>
          {moved.map(({ layer, channel, of, shift }) => (
            <tr key={`${layer} ${channel} ${of}`}>
              <th scope='row'><code>{layer}</code> channel {channel}</th>
              <td>{of}</td>
              <td class='number'>{shift < 0 ? '−' : '+'}{figure(Math.abs(shift))}</td>
              <td class='pair' aria-hidden='true'><span class='bar'><span style={{ width: `${100 * Math.abs(shift) / largest}%` }} /></span></td>
            </tr>
          ))}
        </tbody>
      </table>
    </TableFrame>
  )
}
