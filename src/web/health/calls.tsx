/** Who changed what lately, and who was refused. */
import { TableFrame } from '../parts/table-frame.js'
import { usePolled } from '../service/poll.js'
import { age, moment } from '../service/words.js'
import type { AdminCall } from '../../../clients/typescript/src/index.js'

/** Looking is an admin call too, and gets its line in the audit log. */
const EVERY_MS = 30_000

const SHOWN_MAX = 50

export function Calls () {
  const { data } = usePolled('calls', EVERY_MS, async (client, signal) => {
    return (await client.request('GET /admin/calls', {}, { signal })).calls
  })
  return (
    <section aria-labelledby='calls'>
      <h2 id='calls'>Admin calls</h2>
      {data === undefined ? <p class='empty'>Loading…</p> : data.length === 0 && <p class='empty'>Nothing was changed since the start.</p>}
      {data !== undefined && data.length > 0 && (
        <TableFrame label='Admin calls'>
          <table class='wide'>
            <thead><tr><th scope='col'>When</th><th scope='col'>Key or address</th><th scope='col'>Call</th><th scope='col'>Outcome</th></tr></thead>
            <tbody>
              {data.slice(0, SHOWN_MAX).map((call) => (
                <tr key={call.requestId}>
                  <td title={moment(call.time)}>{age(call.time)}</td>
                  <td><code>{call.keyId ?? call.address}</code></td>
                  <td><code>{call.method} {call.path}</code></td>
                  <td><Outcome call={call} /></td>
                </tr>
              ))}
            </tbody>
          </table>
        </TableFrame>
      )}
    </section>
  )
}

function Outcome ({ call: { status, outcome, version } }: { call: AdminCall }) {
  return (
    <>
      <span class={status < 400 ? 'tag good' : 'tag failed'}>{outcome === 'ok' ? status : `${status} ${outcome}`}</span>
      {version !== undefined && <span class='muted'> version {version}</span>}
    </>
  )
}
