/** A new domain, or a new version of one: from a bank file, or from unlabelled pictures. */
import { useState } from 'preact/hooks'
import { isName } from '../../base/names.js'
import { Heading } from '../frame/frame.js'
import { Fault } from '../parts/dialog.js'
import { DropZone } from '../parts/drop-zone.js'
import { useModels } from '../service/models.js'
import { usePolled } from '../service/poll.js'
import { useSession } from '../service/session.js'
import { bytes, count } from '../service/words.js'
import { BankFile } from './bank-file.js'
import { Calibration } from './calibration.js'
import type { Model } from '../../../clients/typescript/src/index.js'

const BANK_FILE = /\.(safetensors|npz|json)$/i
const PICTURES = /\.(png|jpe?g|webp|tar|tar\.gz|tgz|zip)$/i

const DOMAIN_EVERY_MS = 10_000

export function NewPage ({ model: wanted, domain }: { model: string | undefined, domain: string | undefined }) {
  const { data: models, error } = useModels()
  const { caller } = useSession()
  const ready = models?.filter(({ state }) => state === 'ready') ?? []
  return (
    <>
      <Heading title='New domain' />
      <p class='lead'>A bank file, or a folder of unlabelled pictures of the new kind, becomes a domain that serves at once.</p>
      {caller?.may.change !== true
        ? <p class='empty'>This needs a key with the scope <code>admin</code>.</p>
        : ready.length === 0
          ? error === undefined ? <p class='empty'>{models === undefined ? 'Loading…' : 'No model is ready yet.'}</p> : <Fault error={error} />
          : <NewDomain models={ready} wanted={wanted} domain={domain} />}
    </>
  )
}

function NewDomain ({ models, wanted, domain }: { models: readonly Model[], wanted: string | undefined, domain: string | undefined }) {
  const first = models.find(({ name }) => name === wanted) ?? models.find(({ task }) => task === 'classification') ?? models[0]!
  const [modelName, setModel] = useState(first.name)
  const [name, setName] = useState(domain ?? '')
  const [files, setFiles] = useState<File[]>([])
  const [isBusy, setBusy] = useState(false)
  const model = models.find((one) => one.name === modelName) ?? first
  const isKnown = model.domains.includes(name)
  const { data: existing } = usePolled(isKnown ? `${model.name}/${name}` : undefined, DOMAIN_EVERY_MS, (client, signal) => {
    return client.domain(model.name, name, { signal })
  })
  const bank = files.find((file) => BANK_FILE.test(file.name))
  const pictures = files.filter((file) => PICTURES.test(file.name))
  const subject = { model, domain: name, existing, onBusy: setBusy }
  return (
    <>
      <fieldset class='subject' disabled={isBusy}>
        <legend class='hidden'>What it is called</legend>
        <label class='field'>
          Model
          <select value={modelName} onChange={(event) => setModel(event.currentTarget.value)}>
            {models.map((one) => <option key={one.name} value={one.name}>{one.title}</option>)}
          </select>
        </label>
        <label class='field'>
          Name of the domain
          <input
            type='text' autocomplete='off' spellcheck={false} placeholder='camera-7' value={name}
            onInput={(event) => setName(event.currentTarget.value)} aria-describedby='name-note'
          />
        </label>
        <p id='name-note' class='note'>{noteOf(name, isKnown)}</p>
      </fieldset>
      {!isBusy && (
        <DropZone
          label='Drop a bank file here, or pictures: files, a folder, a zip or a tar' isFolder isMany onFiles={setFiles}
          accept='.safetensors,.npz,.json,.png,.jpg,.jpeg,.webp,.zip,.tar,.tgz'
        />
      )}
      {files.length > 0 && bank === undefined && pictures.length === 0 && (
        <p class='fault' role='alert'>
          None of these {count(files.length)} files is a bank (.safetensors, .npz, .json) or a picture (.png, .jpg, .webp, .zip, .tar).
        </p>
      )}
      {bank !== undefined && <BankFile key={keyOf(files)} file={bank} {...subject} />}
      {bank === undefined && pictures.length > 0 && (
        <Calibration
          key={keyOf(files)} pictures={pictures} passedOver={files.length - pictures.length}
          size={bytes(pictures.reduce((sum, { size }) => sum + size, 0))} {...subject}
        />
      )}
    </>
  )
}

function keyOf (files: readonly File[]): string {
  return `${files.length} ${files[0]?.name} ${files[0]?.lastModified}`
}

function noteOf (name: string, isKnown: boolean): string {
  if (name === '') return 'Letters, digits, dots, dashes and underscores.'
  if (!isName(name)) return 'That is no name: use letters, digits, dots, dashes and underscores, and begin with a letter or digit.'
  return isKnown ? 'This domain is there: it gets a new version.' : 'A new domain.'
}
