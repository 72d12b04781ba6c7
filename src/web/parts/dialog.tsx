/** Dialogs by the browser's own element, which keeps the keyboard inside and gives it back afterwards. */
import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { BankswitchError } from '../../../clients/typescript/src/index.js'
import { textOf } from '../service/session.js'
import type { ComponentChildren } from 'preact'

interface DialogProps {
  title: string
  onClose: () => void
  children: ComponentChildren
}

export function Dialog ({ title, onClose, children }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null)
  const id = useId()
  // At once: the next key must not reach what is behind.
  useLayoutEffect(() => {
    const opener = document.activeElement
    element.current!.showModal()
    return () => { if (opener instanceof HTMLElement && opener.isConnected) opener.focus() }
  }, [])
  return (
    <dialog ref={element} aria-labelledby={id} onCancel={(event) => { event.preventDefault(); onClose() }}>
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  )
}

interface ConfirmProps extends DialogProps {
  /** What the button says: the deed itself. */
  deed: string
  isDangerous?: boolean
  isIncomplete?: boolean
  /** Closes when it resolves; what it rejects with is shown. */
  act: () => Promise<unknown>
}

/** Says what will change, does it, and tells what the server answered. */
export function ConfirmDialog ({ title, deed, isDangerous, isIncomplete, act, onClose, children }: ConfirmProps) {
  const [state, setState] = useState<{ isBusy?: boolean, error?: unknown }>({})
  const submit = (event: Event) => {
    event.preventDefault()
    setState({ isBusy: true })
    act().then(onClose, (error: unknown) => setState({ error }))
  }
  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={submit}>
        {children}
        {state.error !== undefined && <Fault error={state.error} />}
        <div class='buttons'>
          <button type='button' class='quiet' onClick={onClose}>Cancel</button>
          <button
            type='submit' class={isDangerous === true ? 'danger' : 'primary'}
            disabled={state.isBusy === true || isIncomplete === true}
          >
            {deed}
          </button>
        </div>
      </form>
    </Dialog>
  )
}

/** Details that are worth a line of their own: of a gate, or of what was expected. */
const SHOWN = ['output', 'row', 'index', 'expected', 'received', 'layer', 'allowed']

export function Fault ({ error }: { error: unknown }) {
  const details = error instanceof BankswitchError ? error.details : {}
  const code = error instanceof BankswitchError ? error.code : undefined
  const shown = SHOWN.filter((name) => details[name] !== undefined)
  return (
    <div class='fault' role='alert'>
      <p>{code === 'GATE_FAILED' && <strong>The gate was not passed. </strong>}{textOf(error)}</p>
      {shown.length > 0 && (
        <dl class='facts'>
          {shown.map((name) => <div key={name}><dt>{name}</dt><dd>{told(details[name])}</dd></div>)}
        </dl>
      )}
      {code !== undefined && <p class='muted'><code>{code}</code></p>}
    </div>
  )
}

function told (value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
