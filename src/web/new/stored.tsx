/** A version that was stored: whether it answers, and where to go from here. */
import { useState } from 'preact/hooks'
import { Fault } from '../parts/dialog.js'
import { linkTo } from '../service/route.js'
import { useSession } from '../service/session.js'

interface StoredProps {
  model: string
  domain: string
  version: number
  isActive: boolean
}

export function Stored ({ model, domain, version, isActive }: StoredProps) {
  const { client, caller } = useSession()
  const [state, setState] = useState<{ isActive: boolean, isBusy?: boolean, error?: unknown }>({ isActive })
  const activate = () => {
    setState({ isActive: false, isBusy: true })
    client.activate(model, domain, version).then(
      () => setState({ isActive: true }), (error: unknown) => setState({ isActive: false, error })
    )
  }
  return (
    <div class='stored' role='status'>
      <p>
        <span class={state.isActive ? 'tag good' : 'tag'}>{state.isActive ? 'active' : 'stored'}</span>
        {' '}Version <strong>{version}</strong> of <strong>{domain}</strong>
        {state.isActive ? ' answers requests now.' : ` is stored. Requests get it as ${domain}:${version}, and once it is active.`}
      </p>
      {state.error !== undefined && <Fault error={state.error} />}
      <div class='buttons'>
        {!state.isActive && (
          <button type='button' class='primary' disabled={state.isBusy === true} onClick={activate}>Activate version {version}</button>
        )}
        <a class='button' href={linkTo('domain', model, domain)}>See the domain</a>
        {caller?.may.infer === true && <a class='button' href={linkTo('try', model)}>Try a picture</a>}
      </div>
    </div>
  )
}
