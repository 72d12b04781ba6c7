/** A bank from unlabelled pictures: started, watched, judged. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { BankswitchError, type CalibrationResult, type Job } from '../../../clients/typescript/src/index.js'
import { Fault } from '../parts/dialog.js'
import { useSession } from '../service/session.js'
import { plural } from '../service/words.js'
import { Confidence } from './confidence.js'
import { Stored } from './stored.js'
import { isNamed, type Subject } from './subject.js'

const POLL_MS = 500

interface CalibrationProps extends Subject {
  pictures: readonly File[]
  /** Files that are no pictures. */
  passedOver: number
  size: string
}

export function Calibration ({ pictures, passedOver, size, ...subject }: CalibrationProps) {
  const { client } = useSession()
  const { model, domain, onBusy } = subject
  const [how, setHow] = useState<How>({ base: model.defaultDomain, description: '' })
  const [job, setJob] = useState<Job | undefined>(undefined)
  const [state, setState] = useState<{ isBusy?: boolean, error?: unknown }>({})
  const end = useRef<AbortController | undefined>(undefined)
  // Who leaves the page does not wait any longer; the job goes on, and stands under Health.
  const isGone = useRef(false)
  useEffect(() => () => { isGone.current = true }, [])
  const begin = async () => {
    end.current = new AbortController()
    const { id } = await client.startCalibration(model.name, domain, pictures, {
      base: how.base,
      activate: false,
      signal: end.current.signal,
      ...how.description === '' ? {} : { description: how.description }
    })
    for await (const job of client.watch(id, { pollMs: POLL_MS })) {
      if (isGone.current) return
      setJob(job)
      if (job.error !== undefined) throw new BankswitchError(job.error.message, job.error)
    }
  }
  const start = () => {
    setState({ isBusy: true })
    setJob(undefined)
    onBusy(true)
    begin().then(() => setState({}), (error: unknown) => setState({ error })).finally(() => onBusy(false))
  }
  const cancel = () => {
    if (job === undefined) end.current?.abort(new Error('The upload was ended.'))
    else void client.cancel(job.id).catch(() => {})
  }
  const result = job?.state === 'succeeded' ? job.result as CalibrationResult : undefined
  const isPossible = model.task === 'classification'
  return (
    <section class='card' aria-labelledby='calibration'>
      <header>
        <h2 id='calibration'>Calibrate on {plural(pictures.length, pictures.some(isArchive) ? 'file' : 'picture')}</h2>
        <span class='muted'>{size}{passedOver > 0 ? `; ${plural(passedOver, 'other file')} left out` : ''}</span>
      </header>
      {!isPossible && <p class='fault' role='alert'>Pictures calibrate models that classify. This one is calibrated from tensors, by the API.</p>}
      {result === undefined && isPossible && <HowFields model={model} how={how} onHow={setHow} isBusy={state.isBusy === true} />}
      {state.isBusy === true && <Progress job={job} onCancel={cancel} />}
      {job?.state === 'cancelled' && state.isBusy !== true && <p role='status'>The calibration was cancelled. Nothing was registered.</p>}
      {state.error !== undefined && <Fault error={state.error} />}
      {state.isBusy !== true && result === undefined && isPossible && (
        <div class='buttons'>
          <button type='button' class='primary' disabled={!isNamed(subject)} onClick={start}>Calibrate</button>
          {!isNamed(subject) && <span class='muted'>Give the domain a name first.</span>}
        </div>
      )}
      {result !== undefined && (
        <>
          <Confidence result={result} />
          <Stored model={model.name} domain={domain} version={result.version} isActive={result.active} />
        </>
      )}
    </section>
  )
}

const isArchive = ({ name }: File) => /\.(zip|tar|tgz|gz)$/i.test(name)

interface How {
  base: string
  description: string
}

interface HowProps {
  model: Subject['model']
  how: How
  onHow: (how: How) => void
  isBusy: boolean
}

function HowFields ({ model, how, onHow, isBusy }: HowProps) {
  return (
    <fieldset class='subject' disabled={isBusy}>
      <legend class='hidden'>How</legend>
      <label class='field'>
        Begin from
        <select value={how.base} onChange={(event) => onHow({ ...how, base: event.currentTarget.value })}>
          {model.domains.map((name) => <option key={name} value={name}>{name}</option>)}
        </select>
      </label>
      <label class='field'>
        Description
        <input
          type='text' value={how.description} placeholder='optional'
          onInput={(event) => onHow({ ...how, description: event.currentTarget.value })}
        />
      </label>
      <p class='note'>
        Means and variances come from the pictures, gamma and beta from the bank above: best from one that looks alike. The version is only
        stored; activate it when you have seen how sure it is.
      </p>
    </fieldset>
  )
}

function Progress ({ job, onCancel }: { job: Job | undefined, onCancel: () => void }) {
  const text = job === undefined ? 'Sending the pictures…' : job.state === 'queued' ? 'Waiting for its turn…' : 'Calibrating…'
  const value = job?.state === 'running' ? { value: job.progress } : {}
  return (
    <div class='progress'>
      <label>
        <span role='status'>{text}</span>
        <progress max={1} {...value} />
      </label>
      <span class='value'>{job?.state === 'running' ? `${Math.round(100 * job.progress)} %` : ''}</span>
      <button type='button' onClick={onCancel}>Cancel</button>
    </div>
  )
}
