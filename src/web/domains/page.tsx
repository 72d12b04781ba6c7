/** All domains of all models: which are there, who is active, what is moving. */
import { useState } from 'preact/hooks'
import { Heading } from '../frame/frame.js'
import { Fault } from '../parts/dialog.js'
import { useModels } from '../service/models.js'
import { usePolled } from '../service/poll.js'
import { NO_DATA } from '../service/words.js'
import { DomainsTable, type DomainRow } from './table.js'
import { FirstLook } from './first-look.js'
import type { Model } from '../../../clients/typescript/src/index.js'

const DOMAINS_EVERY_MS = 10_000
const TRAFFIC_EVERY_MS = 3_000

export function DomainsPage () {
  const { data: models, error } = useModels()
  const [search, setSearch] = useState('')
  return (
    <>
      <Heading title='Domains'>
        <label class='search'>
          <span class='hidden'>Search domains</span>
          <input type='search' placeholder='Search domains' value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
        </label>
      </Heading>
      {models === undefined
        ? error === undefined ? <p class='empty'>Loading…</p> : <Fault error={error} />
        : (
          <>
            <FirstLook models={models} />
            {models.length === 0 && <p class='empty'>There is no model in the models folder.</p>}
            {models.map((model) => <ModelSection key={model.name} model={model} search={search.trim().toLowerCase()} />)}
          </>
          )}
    </>
  )
}

function ModelSection ({ model, search }: { model: Model, search: string }) {
  const { name, title, state } = model
  const domains = usePolled(name, DOMAINS_EVERY_MS, (client, signal) => client.domains(name, { signal }))
  const traffic = usePolled(name, TRAFFIC_EVERY_MS, (client, signal) => {
    return client.request('GET /v1/models/{model}/traffic', { path: { model: name } }, { signal })
  })
  const known = new Map(traffic.data?.domains.map((one) => [one.domain, one]))
  const rows = domains.data?.map((domain): DomainRow => ({ ...known.get(domain.domain), domain }))
  const found = rows?.filter(({ domain: { domain, description = '' } }) => {
    return `${domain} ${description}`.toLowerCase().includes(search)
  })
  return (
    <section aria-label={`Domains of ${name}`}>
      <div class='section-heading'>
        <h2>{title}</h2>
        <code>{name}</code>
        {state !== 'ready' && <span class={`tag ${state}`}>{state === 'loading' ? 'being compiled' : 'failed: see the log'}</span>}
        {found !== undefined && rows!.length > 0 && (
          <span class='muted'>{search === '' ? `${rows!.length} domains` : `${found.length} of ${rows!.length} domains`}</span>
        )}
      </div>
      {domains.error !== undefined && rows === undefined && <Fault error={domains.error} />}
      {rows?.length === 0 && <p class='empty'>No domains yet.</p>}
      {rows !== undefined && rows.length > 0 && found!.length === 0 && <p class='empty'>No domain is called so.</p>}
      {found !== undefined && found.length > 0 && (
        <DomainsTable
          model={name} rows={found} slots={60} isTrafficKnown={traffic.data !== undefined}
          watchesDrift={traffic.data?.watchesDrift === true} noData={NO_DATA}
        />
      )}
    </section>
  )
}
