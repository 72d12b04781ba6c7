/** The versions of a domain and what may be done with each. */
import { useState } from 'preact/hooks'
import { Fault } from '../parts/dialog.js'
import { TableFrame } from '../parts/table-frame.js'
import { useSession } from '../service/session.js'
import { age, bytes, count, moment, pair } from '../service/words.js'
import type { Deed } from './deeds.js'
import type { Domain, DomainTraffic, Version } from '../../../clients/typescript/src/index.js'

interface VersionsProps {
  model: string
  domain: Domain
  traffic: DomainTraffic | undefined
  may: { read: boolean, change: boolean }
  onDeed: (deed: Deed) => void
}

export function Versions ({ model, domain, traffic, may, onDeed }: VersionsProps) {
  const [fault, setFault] = useState<unknown>(undefined)
  const asked = new Map(traffic?.versions.map((one) => [one.version, one]))
  return (
    <section aria-labelledby='versions'>
      <h2 id='versions'>Versions</h2>
      {fault !== undefined && <Fault error={fault} />}
      <TableFrame label='Versions'>
        <table class='wide versions'>
          <thead>
            <tr>
              <th scope='col'>Version</th>
              <th scope='col'>From</th>
              <th scope='col'>Registered</th>
              <th scope='col' class='optional'>Digest</th>
              <th scope='col' class='number'>Requests</th>
              <th scope='col' class='number'>p50 / p99</th>
              {(may.read || may.change) && <th scope='col' class='deeds'><span class='hidden'>What to do</span></th>}
            </tr>
          </thead>
          <tbody>
            {domain.versions.toReversed().map((version) => (
              <tr key={version.version}>
                <th scope='row'>{version.version} <Marks domain={domain} version={version} /></th>
                <td>{version.source}</td>
                <td title={moment(version.createdAt)}>{age(version.createdAt)}</td>
                <td class='optional'>
                  <code title={`${version.digest}, ${bytes(version.bytes)}, fingerprint ${version.fingerprint}`}>{version.digest.slice(0, 8)}</code>
                </td>
                <AskedCells asked={asked.get(version.version)} />
                {(may.read || may.change) && (
                  <td class='deeds'><VersionDeeds model={model} domain={domain} version={version} may={may} onDeed={onDeed} onFault={setFault} /></td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </TableFrame>
    </section>
  )
}

function Marks ({ domain: { labels = {}, canary, shadow }, version: { version, active } }: { domain: Domain, version: Version }) {
  return (
    <>
      {active && <span class='tag good'>active</span>}
      {canary?.version === version && <span class='tag trial-tag'>canary {canary.percent} %</span>}
      {shadow?.version === version && <span class='tag'>shadow {shadow.percent} %</span>}
      {Object.entries(labels).filter(([, labelled]) => labelled === version).map(([label]) => <span key={label} class='tag'>{label}</span>)}
    </>
  )
}

function AskedCells ({ asked }: { asked: DomainTraffic['versions'][number] | undefined }) {
  if (asked === undefined) return <td class='number nothing' colSpan={2}>no data yet</td>
  return (
    <>
      <td class='number'>{count(asked.requests)}</td>
      <td class='number'>{asked.p50Ms === undefined ? '–' : pair(asked.p50Ms, asked.p99Ms!)}</td>
    </>
  )
}

interface DeedsProps extends Omit<VersionsProps, 'traffic'> {
  version: Version
  onFault: (error: unknown) => void
}

function VersionDeeds ({ model, domain, version: { version, active }, may, onDeed, onFault }: DeedsProps) {
  const { client } = useSession()
  const download = () => {
    client.download(model, domain.domain, version).then((file) => {
      save(file, `${model}-${domain.domain}-${version}.safetensors`)
    }, onFault)
  }
  return (
    <div class='buttons small'>
      {may.change && !active && <button type='button' onClick={() => onDeed({ kind: 'activate', version })}>Activate…</button>}
      {may.change && !active && <button type='button' onClick={() => onDeed({ kind: 'canary', version })}>Canary…</button>}
      {may.change && !active && <button type='button' onClick={() => onDeed({ kind: 'shadow', version })}>Shadow…</button>}
      {may.change && <button type='button' onClick={() => onDeed({ kind: 'label', version })}>Label…</button>}
      {may.read && <button type='button' class='quiet' onClick={download}>Download</button>}
      {may.change && !active && (
        <button type='button' class='quiet danger' onClick={() => onDeed({ kind: 'delete-version', version })}>Delete…</button>
      )}
    </div>
  )
}

/** By a link of the page's own: a plain one could not send the key. */
function save (file: Uint8Array, name: string): void {
  const href = URL.createObjectURL(new Blob([file as Uint8Array<ArrayBuffer>]))
  const link = Object.assign(document.createElement('a'), { href, download: name })
  link.click()
  URL.revokeObjectURL(href)
}
