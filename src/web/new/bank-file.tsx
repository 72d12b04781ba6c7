/** Registering a bank file. */
import { useState } from 'preact/hooks'
import { Fault } from '../parts/dialog.js'
import { useSession } from '../service/session.js'
import { bytes } from '../service/words.js'
import { Stored } from './stored.js'
import { consequence, isNamed, type Subject } from './subject.js'
import type { Registered } from '../../../clients/typescript/src/index.js'

export function BankFile ({ file, ...subject }: Subject & { file: File }) {
  const { client } = useSession()
  const { model, domain, onBusy } = subject
  const [state, setState] = useState<{ isBusy?: boolean, registered?: Registered, error?: unknown }>({})
  const register = (activate: boolean) => {
    setState({ isBusy: true })
    onBusy(true)
    client.register(model.name, domain, file, { activate })
      .then((registered) => setState({ registered }), (error: unknown) => setState({ error }))
      .finally(() => onBusy(false))
  }
  const { registered, error, isBusy } = state
  const isDisabled = isBusy === true || !isNamed(subject)
  return (
    <section class='card' aria-labelledby='bank-file'>
      <header><h2 id='bank-file'>{file.name}</h2><span class='muted'>{bytes(file.size)}</span></header>
      {registered === undefined
        ? (
          <>
            <p>{isNamed(subject) ? consequence(subject) : 'Give the domain a name first.'}</p>
            <div class='buttons'>
              <button type='button' disabled={isDisabled} onClick={() => register(false)}>Store only</button>
              <button type='button' class='primary' disabled={isDisabled} onClick={() => register(true)}>Store and activate</button>
            </div>
          </>
          )
        : (
          <>
            {registered.warnings?.map(({ code, message }) => <p key={code + message} class='warning-text'><strong>{code}</strong> {message}</p>)}
            <Stored model={model.name} domain={domain} version={registered.version} isActive={registered.active} />
          </>
          )}
      {error !== undefined && <Fault error={error} />}
    </section>
  )
}
