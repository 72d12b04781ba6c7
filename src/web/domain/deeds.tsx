/** Changes of a domain: each says first what will be another, and is refused when somebody else was faster. */
import { useState } from 'preact/hooks'
import { ConfirmDialog } from '../parts/dialog.js'
import { useSession } from '../service/session.js'
import { plural } from '../service/words.js'
import type { Client, Domain } from '../../../clients/typescript/src/index.js'
import type { ComponentChildren } from 'preact'

export type Deed =
  | { kind: 'activate', version: number }
  | { kind: 'rollback' }
  | { kind: 'canary' | 'shadow', version: number }
  | { kind: 'end-canary' | 'end-shadow' }
  | { kind: 'label', version: number }
  | { kind: 'end-label', label: string }
  | { kind: 'delete-version', version: number }
  | { kind: 'delete' }

interface DeedProps {
  deed: Deed
  model: string
  domain: Domain
  onDone: () => void
  onClose: () => void
}

interface Plan {
  title: string
  button: string
  isDangerous?: boolean
  changes: ComponentChildren
  act: (client: Client, given: Given) => Promise<unknown>
}

/** What some deeds ask for. */
interface Given {
  percent: number
  label: string
}

const PERCENT_FIRST = 5

export function DeedDialog ({ deed, model, domain, onDone, onClose }: DeedProps) {
  const { client } = useSession()
  const [given, setGiven] = useState<Given>({ percent: PERCENT_FIRST, label: '' })
  const plan = planOf(deed, model, domain)
  const asksPercent = deed.kind === 'canary' || deed.kind === 'shadow'
  const isIncomplete = (deed.kind === 'label' && given.label === '') || (asksPercent && !(given.percent > 0))
  return (
    <ConfirmDialog
      title={plan.title} deed={plan.button} isDangerous={plan.isDangerous === true} isIncomplete={isIncomplete}
      act={async () => { await plan.act(client, given); onDone() }} onClose={onClose}
    >
      {plan.changes}
      {asksPercent && (
        <label class='field'>
          Share of the requests, in percent
          <input
            type='number' min='0.1' max='100' step='any' value={given.percent}
            onInput={(event) => setGiven({ ...given, percent: event.currentTarget.valueAsNumber })}
          />
        </label>
      )}
      {deed.kind === 'label' && (
        <label class='field'>
          Label
          <input type='text' autocomplete='off' value={given.label} onInput={(event) => setGiven({ ...given, label: event.currentTarget.value })} />
        </label>
      )}
      {domain.gate !== undefined && ['activate', 'canary', 'label', 'rollback'].includes(deed.kind) && (
        <p class='muted'>The gate tries the version first: {plural(domain.gate.rows, 'golden row')}. One that does not pass changes nothing.</p>
      )}
    </ConfirmDialog>
  )
}

function planOf (deed: Deed, model: string, domain: Domain): Plan {
  const about = {
    path: { model, domain: domain.domain },
    ifRevision: domain.revision,
    header: { 'if-match': `"${domain.revision}"` },
    name: <strong>{`${model}/${domain.domain}`}</strong>,
    now: domain.active === null ? 'No version answers now.' : <>Version <strong>{domain.active}</strong> answers now.</>
  }
  switch (deed.kind) {
    case 'activate':
      return activation(deed.version, about)
    case 'rollback':
      return {
        title: 'Roll back?',
        button: 'Roll back',
        changes: <p>Requests for {about.name} will be answered by the version that was active before. {about.now}</p>,
        act: (client) => client.rollback(model, domain.domain, about)
      }
    case 'canary':
      return canary(deed.version, domain, about)
    case 'shadow':
      return shadow(deed.version, domain, about)
    case 'end-canary':
    case 'end-shadow':
      return ending(deed.kind === 'end-canary' ? 'canary' : 'shadow', about)
    case 'label':
      return labelling(deed.version, about)
    case 'end-label':
      return unlabelling(deed.label, about)
    case 'delete-version':
      return {
        title: `Delete version ${deed.version}?`,
        button: `Delete version ${deed.version}`,
        isDangerous: true,
        changes: (
          <p>
            Version <strong>{deed.version}</strong> of {about.name} will be gone, and its number never comes again. There is no way back but its
            file.
          </p>
        ),
        act: (client) => client.deleteVersion(model, domain.domain, deed.version, about)
      }
    case 'delete':
      return {
        title: `Delete ${domain.domain}?`,
        button: `Delete ${domain.domain}`,
        isDangerous: true,
        changes: (
          <p>
            {about.name} will be gone with {plural(domain.versions.length, 'version')}. Requests that name it will be refused. There is no way back
            but files of its banks.
          </p>
        ),
        act: (client) => client.deleteDomain(model, domain.domain, about)
      }
  }
}

interface About {
  path: { model: string, domain: string }
  ifRevision: number
  header: { 'if-match': string }
  name: ComponentChildren
  now: ComponentChildren
}

function activation (version: number, { path, ifRevision, name, now }: About): Plan {
  return {
    title: `Activate version ${version}?`,
    button: `Activate version ${version}`,
    changes: <p>Requests for {name} that pin no version will be answered by version <strong>{version}</strong>. {now}</p>,
    act: (client) => client.activate(path.model, path.domain, version, { ifRevision })
  }
}

function canary (version: number, { canary }: Domain, { path, header, name, now }: About): Plan {
  return {
    title: `Version ${version} as canary?`,
    button: 'Start the canary',
    changes: (
      <p>
        Version <strong>{version}</strong> will answer a share of the requests for {name} that pin no version. {now}
        {canary !== undefined && <> It takes the place of the canary of version <strong>{canary.version}</strong>.</>}
      </p>
    ),
    act: (client, { percent }) => client.request('PUT /admin/models/{model}/domains/{domain}/canary', {
      path, header, body: { version, percent }
    })
  }
}

function shadow (version: number, { shadow }: Domain, { path, header, name }: About): Plan {
  return {
    title: `Version ${version} as shadow?`,
    button: 'Start the shadow',
    changes: (
      <p>
        Version <strong>{version}</strong> will run once more a share of what the active version of {name} has answered. Nobody gets its answers;
        they are compared.
        {shadow !== undefined && <> It takes the place of the shadow of version <strong>{shadow.version}</strong>.</>}
      </p>
    ),
    act: (client, { percent }) => client.request('PUT /admin/models/{model}/domains/{domain}/shadow', {
      path, header, body: { version, percent }
    })
  }
}

function ending (what: 'canary' | 'shadow', { path, header, name }: About): Plan {
  return {
    title: `End the ${what}?`,
    button: `End the ${what}`,
    changes: what === 'canary'
      ? <p>All requests for {name} that pin no version will be answered by the active version.</p>
      : <p>Nothing of {name} is compared any more, and the report is gone.</p>,
    act: (client) => client.request(`DELETE /admin/models/{model}/domains/{domain}/${what}`, { path, header })
  }
}

function labelling (version: number, { path, header, name }: About): Plan {
  return {
    title: `Label version ${version}`,
    button: 'Set the label',
    changes: (
      <p>Requests for {name} may then ask for version <strong>{version}</strong> by this name. A label that another version has moves here.</p>
    ),
    act: (client, { label }) => client.request('PUT /admin/models/{model}/domains/{domain}/labels/{label}', {
      path: { ...path, label }, header, body: { version }
    })
  }
}

function unlabelling (label: string, { path, header, name }: About): Plan {
  return {
    title: `Take the label ${label} away?`,
    button: 'Take it away',
    changes: <p>Requests that ask {name} for <code>{label}</code> will be refused.</p>,
    act: (client) => client.request('DELETE /admin/models/{model}/domains/{domain}/labels/{label}', {
      path: { ...path, label }, header
    })
  }
}
