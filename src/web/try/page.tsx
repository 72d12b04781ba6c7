/** One picture under several banks, side by side. */
import { useEffect, useState } from 'preact/hooks'
import { Heading } from '../frame/frame.js'
import { Fault } from '../parts/dialog.js'
import { DropZone } from '../parts/drop-zone.js'
import { fetchSample, SamplePicture, useObjectUrl, useSamples, type Sample } from '../parts/sample.js'
import { useModels } from '../service/models.js'
import { linkTo } from '../service/route.js'
import { useSession } from '../service/session.js'
import { BankChoice, firstBanks } from './bank-choice.js'
import { CameraDialog } from './camera.js'
import { Labels } from './labels.js'
import { Pictures } from './pictures.js'
import { sendable } from './sendable.js'
import type { Chosen } from './answers.js'
import type { Model } from '../../../clients/typescript/src/index.js'

export function TryPage ({ model: wanted, sample }: { model: string | undefined, sample: string | undefined }) {
  const { data, error } = useModels()
  const { caller } = useSession()
  const models = data?.filter(({ task, state }) => task !== 'tensors' && state !== 'failed') ?? []
  const model = models.find(({ name }) => name === wanted) ?? models.find(({ domainFrom }) => domainFrom === undefined) ?? models[0]
  return (
    <>
      <Heading title='Try a picture'>
        {models.length > 1 && (
          <label class='field inline'>
            Model
            <select value={model?.name} onChange={(event) => { location.hash = linkTo('try', event.currentTarget.value) }}>
              {models.map(({ name, title }) => <option key={name} value={name}>{title}</option>)}
            </select>
          </label>
        )}
      </Heading>
      {caller?.may.infer !== true
        ? <p class='empty'>{caller?.may.read === true ? 'No pictures at this address, or with this key.' : 'This needs a key that may infer.'}</p>
        : model === undefined
          ? error === undefined
            ? <p class='empty'>{data === undefined ? 'Loading…' : 'No model here takes pictures.'}</p>
            : <Fault error={error} />
          : <TryModel key={model.name} model={model} sample={model.name === wanted ? sample : undefined} />}
    </>
  )
}

function TryModel ({ model, sample }: { model: Model, sample: string | undefined }) {
  const { client } = useSession()
  const samples = useSamples(model.name, model.domains)
  const [chosen, choose] = useState<Chosen | undefined>(undefined)
  const [banks, setBanks] = useState(() => firstBanks(model))
  const [fault, setFault] = useState<unknown>(undefined)
  const [hasCamera, openCamera] = useState(false)
  const take = (picture: Blob, name: string) => {
    sendable(picture).then((picture) => { setFault(undefined); choose({ picture, name }) }, setFault)
  }
  const takeSample = ({ file, domain, subject }: Sample, signal: AbortSignal) => {
    fetchSample(client, model.name, file, signal).then((picture) => {
      setFault(undefined)
      choose({ picture, name: file, subject: model.task === 'classification' ? subject : undefined })
      if (domain !== undefined) setBanks(firstBanks(model, domain))
    }, (error: unknown) => { if (!signal.aborted) setFault(error) })
  }
  useSampleOfAddress(samples, sample, takeSample)
  usePasted((picture) => take(picture, 'pasted picture'))
  return (
    <div class='try'>
      <div class='given'>
        <Given chosen={chosen} />
        <DropZone label='Drop a picture here, or paste one' accept='image/*' onFiles={([file]) => { if (file !== undefined) take(file, file.name) }}>
          <button type='button' onClick={() => openCamera(true)}>Camera</button>
        </DropZone>
        {samples.length > 0 && <Samples model={model} samples={samples} chosen={chosen?.name} />}
      </div>
      <div class='answers'>
        <BankChoice model={model} banks={banks} onBanks={setBanks} />
        {fault !== undefined && <Fault error={fault} />}
        {chosen === undefined
          ? <p class='empty'>Choose a picture: each bank’s answer appears here.</p>
          : model.task === 'classification'
            ? <Labels model={model.name} chosen={chosen} banks={banks} />
            : <Pictures model={model.name} chosen={chosen} banks={banks} />}
      </div>
      {hasCamera && <CameraDialog onClose={() => openCamera(false)} onPicture={(picture) => take(picture, 'camera')} />}
    </div>
  )
}

function Given ({ chosen }: { chosen: Chosen | undefined }) {
  const url = useObjectUrl(chosen?.picture)
  const [size, setSize] = useState('')
  if (chosen === undefined) return null
  return (
    <figure class='given-picture'>
      {url !== undefined && (
        <img
          src={url} alt={chosen.subject ?? chosen.name}
          onLoad={({ currentTarget: { naturalWidth, naturalHeight } }) => setSize(`${naturalWidth} × ${naturalHeight}`)}
        />
      )}
      <figcaption>{chosen.subject === undefined ? chosen.name : `Shows: ${chosen.subject}`} <span class='muted'>{size}</span></figcaption>
    </figure>
  )
}

function Samples ({ model, samples, chosen }: { model: Model, samples: readonly Sample[], chosen: string | undefined }) {
  return (
    <section aria-labelledby='samples'>
      <h2 id='samples' class='small'>Samples</h2>
      <ul class='samples'>
        {samples.map(({ file, domain, subject }) => (
          <li key={file}>
            <a class='sample' href={linkTo('try', model.name, file)} {...file === chosen ? { 'aria-current': 'true' as const } : {}}>
              <SamplePicture model={model.name} file={file} />
              <span><strong>{domain}</strong>{subject === domain ? '' : subject}</span>
            </a>
          </li>
        ))}
      </ul>
    </section>
  )
}

/** The sample that the address names, once it is known. */
function useSampleOfAddress (
  samples: readonly Sample[], wanted: string | undefined, take: (sample: Sample, signal: AbortSignal) => void
): void {
  const sample = samples.find(({ file }) => file === wanted)
  useEffect(() => {
    const end = new AbortController()
    if (sample !== undefined) take(sample, end.signal)
    return () => end.abort()
  }, [sample?.file])
}

function usePasted (take: (picture: Blob) => void): void {
  useEffect(() => {
    const paste = ({ clipboardData }: ClipboardEvent) => {
      const picture = [...clipboardData?.files ?? []].find(({ type }) => type.startsWith('image/'))
      if (picture !== undefined) take(picture)
    }
    document.addEventListener('paste', paste)
    return () => document.removeEventListener('paste', paste)
  }, [])
}
