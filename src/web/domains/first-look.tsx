/** The way in for a newcomer: one click shows what a bank is worth. */
import { useState } from 'preact/hooks'
import { SamplePicture, useSamples } from '../parts/sample.js'
import { linkTo } from '../service/route.js'
import { useSession } from '../service/session.js'
import type { Model } from '../../../clients/typescript/src/index.js'

const SHOWN_MAX = 6

const STORED = 'bankswitch.first-look'

export function FirstLook ({ models }: { models: readonly Model[] }) {
  const { caller } = useSession()
  const [isClosed, setClosed] = useState(localStorage.getItem(STORED) === 'closed')
  // Where the picture itself chooses the bank, there is less to be seen.
  const model = models.find(({ task, state, domains, domainFrom }) => {
    return task === 'classification' && state === 'ready' && domains.length > 1 && domainFrom === undefined
  })
  const samples = useSamples(model?.name, model?.domains ?? [])
    // Those of other domains: under the default bank they may be read wrong.
    .filter(({ domain }) => domain !== undefined && domain !== model?.defaultDomain)
  if (isClosed || model === undefined || samples.length === 0 || caller?.may.infer !== true) return null
  const { name, defaultDomain } = model
  const close = () => {
    localStorage.setItem(STORED, 'closed')
    setClosed(true)
  }
  return (
    <aside class='first-look' aria-labelledby='first-look'>
      <div>
        <h2 id='first-look'>One network, another bank: see the difference</h2>
        <p>Click a picture. It is read under the bank <code>{defaultDomain}</code> and under its own, side by side.</p>
      </div>
      <ul class='samples'>
        {samples.slice(0, SHOWN_MAX).map(({ file, domain, subject }) => (
          <li key={file}>
            <a class='sample' href={linkTo('try', name, file)}>
              <SamplePicture model={name} file={file} />
              <span><strong>{domain}</strong>{subject}</span>
            </a>
          </li>
        ))}
      </ul>
      <button type='button' class='quiet close' aria-label='Close this' onClick={close}>×</button>
    </aside>
  )
}
