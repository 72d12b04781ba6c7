/** What is around every page: the way to the others, the key, and whether the server is there. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { linkTo } from '../service/route.js'
import { useSession } from '../service/session.js'
import { KeyDialog } from './key-dialog.js'
import type { ComponentChildren } from 'preact'

export const PAGES = [
  ['', 'Domains'],
  ['try', 'Try a picture'],
  ['new', 'New domain'],
  ['health', 'Health']
] as const

export function Frame ({ page, children }: { page: string, children: ComponentChildren }) {
  const { caller, trouble } = useSession()
  const [isAsking, ask] = useState(false)
  const main = useRef<HTMLElement>(null)
  const skip = (event: Event) => {
    // Not by the address, whose # tells the page.
    event.preventDefault()
    main.current!.focus()
  }
  return (
    <>
      <a class='skip' href='#main' onClick={skip}>Skip to the content</a>
      <header class='top'>
        <a class='brand' href={linkTo()}><img src='icon.svg' alt='' width='24' height='24' />bankswitch</a>
        <nav aria-label='Pages'>
          {PAGES.map(([path, name]) => (
            <a
              key={path} href={linkTo(...path === '' ? [] : [path])}
              {...path === page || (path === '' && page === 'domain') ? { 'aria-current': 'page' as const } : {}}
            >
              {name}
            </a>
          ))}
        </nav>
        <button type='button' class='quiet key-button' onClick={() => ask(true)}>
          {caller?.key === undefined ? 'Enter a key' : <>Key <code>{caller.key.id}</code></>}
        </button>
      </header>
      <Trouble trouble={trouble} onKey={() => ask(true)} />
      <main ref={main} tabIndex={-1} id='main'>
        {caller === undefined ? <p class='empty'>Asking the server…</p> : caller.may.list ? children : <Locked onKey={() => ask(true)} />}
      </main>
      <footer class='bottom'>
        <span>{caller === undefined ? 'bankswitch' : `bankswitch ${caller.version}`}</span>
        <a href='../docs/'>API</a>
        {caller?.may.observe === true && <a href='../metrics'>Metrics</a>}
      </footer>
      {isAsking && <KeyDialog onClose={() => ask(false)} />}
    </>
  )
}

function Trouble ({ trouble, onKey }: { trouble: 'gone' | 'key' | undefined, onKey: () => void }) {
  const [since, setSince] = useState<Date | undefined>(undefined)
  useEffect(() => setSince(trouble === 'gone' ? new Date() : undefined), [trouble])
  return (
    <div role='status'>
      {trouble === 'gone' && (
        <p class='trouble'>
          The server does not answer{since === undefined ? '' : ` since ${since.toLocaleTimeString('en-GB')}`}.
          {' '}What you see is what it last said; this page goes on asking.
        </p>
      )}
      {trouble === 'key' && (
        <p class='trouble'>
          The key is not known here, or not any more. <button type='button' class='link' onClick={onKey}>Enter another</button>
        </p>
      )}
    </div>
  )
}

function Locked ({ onKey }: { onKey: () => void }) {
  return (
    <div class='locked'>
      <h1>This server asks for a key</h1>
      <p>
        Even its list of models needs one. A key with the scope <code>infer</code> shows domains and tries pictures; with <code>read</code> or
        {' '}<code>admin</code> there is more.
      </p>
      <p><button type='button' class='primary' onClick={onKey}>Enter a key</button></p>
    </div>
  )
}

/** The heading of a page, which has the keyboard when one comes to it. */
export function Heading ({ title, children }: { title: string, children?: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    document.title = `${title} · bankswitch`
    // Not at the first page: there the browser knows best.
    if (hasPage) heading.current!.focus()
    hasPage = true
  }, [title])
  return (
    <div class='heading'>
      <h1 ref={heading} tabIndex={-1}>{title}</h1>
      {children}
    </div>
  )
}

let hasPage = false
