/** Calibrations, newest first. */
import { TableFrame } from '../parts/table-frame.js'
import { usePolled } from '../service/poll.js'
import { useSession } from '../service/session.js'
import { age, moment } from '../service/words.js'
import { linkTo } from '../service/route.js'
import type { Job } from '../../../clients/typescript/src/index.js'

const EVERY_MS = 10_000
/** While one is under way. */
const BUSY_EVERY_MS = 2_000
const SHOWN_MAX = 20

const isUnderWay = ({ state }: Job) => state === 'queued' || state === 'running'

export function Jobs () {
  const { client, caller } = useSession()
  const { data, refresh } = usePolled<Job[]>(
    'jobs', (jobs) => jobs?.some(isUnderWay) === true ? BUSY_EVERY_MS : EVERY_MS,
    async (client, signal) => (await client.request('GET /admin/jobs', {}, { signal })).jobs
  )
  const cancel = (id: string) => { void client.cancel(id).then(refresh, refresh) }
  return (
    <section aria-labelledby='jobs'>
      <h2 id='jobs'>Jobs</h2>
      {data === undefined ? <p class='empty'>Loading…</p> : data.length === 0 && <p class='empty'>No calibrations yet.</p>}
      {data !== undefined && data.length > 0 && (
        <TableFrame label='Jobs'>
          <table class='wide'>
            <thead>
              <tr><th scope='col'>Domain</th><th scope='col'>State</th><th scope='col'>Begun</th><th scope='col'>What came of it</th></tr>
            </thead>
            <tbody>
              {data.slice(0, SHOWN_MAX).map((job) => (
                <tr key={job.id}>
                  <th scope='row'><Subject job={job} /></th>
                  <td><span class={`tag ${TAG_OF[job.state]}`}>{job.state}</span></td>
                  <td title={moment(job.createdAt)}>{age(job.createdAt)}</td>
                  <td>
                    {job.state === 'running' && <progress max={1} value={job.progress} aria-label='Progress' />}
                    {isUnderWay(job) && caller?.may.change === true && <button type='button' onClick={() => cancel(job.id)}>Cancel</button>}
                    {job.error !== undefined && <>{job.error.message} <code>{job.error.code}</code></>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </TableFrame>
      )}
    </section>
  )
}

const TAG_OF = { queued: '', running: 'loading', succeeded: 'good', failed: 'failed', cancelled: '' } as const

function Subject ({ job: { subject: { model, domain } } }: { job: Job }) {
  if (typeof model !== 'string' || typeof domain !== 'string') return <>–</>
  return <a href={linkTo('domain', model, domain)}>{model}/{domain}</a>
}
