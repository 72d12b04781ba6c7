/** Entering a key, and forgetting it. */
import { useState } from 'preact/hooks'
import { ConfirmDialog, Dialog } from '../parts/dialog.js'
import { moment } from '../service/words.js'
import { dropKey, takeKey, useSession } from '../service/session.js'

const SCOPE_TEXT = {
  infer: 'try pictures, and see models and domains',
  read: 'read what the admin API tells',
  admin: 'change domains, and read'
} as const

export function KeyDialog ({ onClose }: { onClose: () => void }) {
  const { caller } = useSession()
  const [text, setText] = useState('')
  const [isHeld, setHeld] = useState(caller?.key !== undefined)
  if (isHeld && caller?.key !== undefined) {
    const { id, scopes, models, expiresAt } = caller.key
    return (
      <Dialog title='This tab has a key' onClose={onClose}>
        <dl class='facts'>
          <div><dt>Id</dt><dd><code>{id}</code></dd></div>
          <div><dt>May</dt><dd>{scopes.map((scope) => <span key={scope}><strong>{scope}</strong>: {SCOPE_TEXT[scope]}<br /></span>)}</dd></div>
          {models !== undefined && <div><dt>Only for</dt><dd>{models.join(', ')}</dd></div>}
          {expiresAt !== undefined && <div><dt>Until</dt><dd>{moment(expiresAt)}</dd></div>}
        </dl>
        <div class='buttons'>
          <button type='button' class='quiet' onClick={onClose}>Close</button>
          <button type='button' onClick={() => setHeld(false)}>Another key</button>
          <button type='button' onClick={() => { void dropKey(); onClose() }}>Forget it</button>
        </div>
      </Dialog>
    )
  }
  return (
    <ConfirmDialog title='Enter a key' deed='Use it' isIncomplete={text.trim() === ''} act={() => takeKey(text.trim())} onClose={onClose}>
      <p>
        It stays in this tab until the tab is closed, and goes to this server only. The first start wrote the admin key to
        {' '}<code>.bankswitch/admin.key</code>; <code>npx bankswitch keys add</code> makes others.
      </p>
      <label class='field'>
        Key
        <input type='password' autocomplete='off' spellcheck={false} value={text} onInput={(event) => setText(event.currentTarget.value)} />
      </label>
    </ConfirmDialog>
  )
}
