/** One domain: its versions, what is on trial, how it is asked, and how far its bank lies from another. */
import { useState } from 'preact/hooks'
import { Heading } from '../frame/frame.js'
import { Fault } from '../parts/dialog.js'
import { Plot } from '../parts/plot.js'
import { useModels } from '../service/models.js'
import { usePolled } from '../service/poll.js'
import { linkTo } from '../service/route.js'
import { useSession } from '../service/session.js'
import { bytes, count, figure, moment, NO_DATA, pair, percent, plural, rate } from '../service/words.js'
import { DeedDialog, type Deed } from './deeds.js'
import { Drift } from './drift.js'
import { Layers } from './layers.js'
import { Trial } from './trial.js'
import { Versions } from './versions.js'
import type { Domain, DomainTraffic } from '../../../clients/typescript/src/index.js'

const DOMAIN_EVERY_MS = 5_000
const TRAFFIC_EVERY_MS = 3_000

export function DomainPage ({ model, name }: { model: string, name: string }) {
  const { caller } = useSession()
  const { data: models } = useModels()
  const { data: domain, error, refresh } = usePolled(`${model}/${name}`, DOMAIN_EVERY_MS, (client, signal) => {
    return client.domain(model, name, { signal })
  })
  const { data: traffic } = usePolled(`${model}/${name}`, TRAFFIC_EVERY_MS, (client, signal) => {
    return client.request('GET /v1/models/{model}/domains/{domain}/traffic', { path: { model, domain: name } }, { signal })
  })
  const [deed, setDeed] = useState<Deed | undefined>(undefined)
  if (domain === undefined) {
    return <Heading title={name}>{error === undefined ? <p class='empty'>Loading…</p> : <Fault error={error} />}</Heading>
  }
  const known = models?.find(({ name }) => name === model)
  const may = { read: caller?.may.read === true, change: caller?.may.change === true }
  return (
    <>
      <p class='trail'><a href={linkTo()}>Domains</a> / <span>{model}</span></p>
      <Heading title={name}>
        {domain.default && <span class='tag'>default</span>}
        {may.change && <Deeds domain={domain} onDeed={setDeed} />}
      </Heading>
      {domain.description !== undefined && <p class='lead'>{domain.description}</p>}
      <Facts domain={domain} traffic={traffic} />
      <Versions model={model} domain={domain} traffic={traffic} may={may} onDeed={setDeed} />
      {!may.change && (
        <p class='muted'>Changes need a key with the scope <code>admin</code>{may.read ? '' : ', downloads and layers one with read'}.</p>
      )}
      <Trial model={model} domain={domain} may={may} onDeed={setDeed} />
      <Traffic traffic={traffic} />
      {traffic !== undefined && known?.state === 'ready' && <Drift model={model} domain={domain} isWatched={traffic.watchesDrift} />}
      {may.read && known !== undefined && <Layers model={model} domain={domain} others={known.domains} defaultDomain={known.defaultDomain} />}
      {deed !== undefined && (
        <DeedDialog
          deed={deed} model={model} domain={domain} onClose={() => setDeed(undefined)}
          onDone={() => { if (deed.kind === 'delete') location.hash = linkTo(); else refresh() }}
        />
      )}
    </>
  )
}

function Deeds ({ domain, onDeed }: { domain: Domain, onDeed: (deed: Deed) => void }) {
  return (
    <div class='buttons'>
      <button type='button' onClick={() => onDeed({ kind: 'rollback' })}>Roll back…</button>
      {!domain.default && <button type='button' class='danger quiet' onClick={() => onDeed({ kind: 'delete' })}>Delete domain…</button>}
    </div>
  )
}

function Facts ({ domain: { active, gate, labels }, traffic }: { domain: Domain, traffic: DomainTraffic | undefined }) {
  const recent = traffic?.recent
  return (
    <dl class='figures'>
      <div><dt>Active version</dt><dd>{active ?? 'none'}</dd></div>
      <div><dt>Requests a second</dt><dd>{recent === undefined ? <Nothing /> : rate(recent.perSecond)}</dd></div>
      <div><dt>p50 / p99</dt><dd>{recent?.p50Ms === undefined ? <Nothing /> : pair(recent.p50Ms, recent.p99Ms!)}</dd></div>
      <div><dt>Errors in an hour</dt><dd>{recent === undefined ? <Nothing /> : failuresText(recent)}</dd></div>
      <div><dt>Bank in memory</dt><dd>{traffic?.residentBytes === undefined ? 'not loaded' : bytes(traffic.residentBytes)}</dd></div>
      <div>
        <dt>Gate</dt>
        <dd>{gate === undefined ? 'none' : <span title={ruleText(gate)}>{plural(gate.rows, 'row')}</span>}</dd>
      </div>
      <div>
        <dt>Labels</dt>
        <dd>{labels === undefined ? 'none' : Object.entries(labels).map(([label, version]) => `${label} → ${version}`).join(', ')}</dd>
      </div>
    </dl>
  )
}

function failuresText ({ failures, requests }: { failures: number, requests: number }): string {
  return failures === 0 ? 'none' : `${count(failures)} (${percent(failures / requests)})`
}

function ruleText ({ createdAt, absolute, relative }: NonNullable<Domain['gate']>): string {
  return `since ${moment(createdAt)}, ±(${figure(absolute)} + ${figure(relative)} × |expected|)`
}

function Nothing () {
  return <span class='nothing'>{NO_DATA}</span>
}

function Traffic ({ traffic }: { traffic: DomainTraffic | undefined }) {
  const seconds = traffic?.slotSeconds ?? 15
  const series = traffic?.recent?.series
  // What the slot of now has got so far says nothing of its pace.
  const values = series?.map((requests, at) => at === series.length - 1 ? null : requests / seconds) ?? []
  return (
    <section aria-labelledby='traffic'>
      <h2 id='traffic'>The last hour</h2>
      <Plot title='Requests a second' lines={[{ name: 'requests', values }]} slotSeconds={seconds} told={rate} />
    </section>
  )
}
