/**
 * The form of a snapshot, a whole store as one tar archive. Entries:
 *
 *   <model>/<domain>/domain.json                  the pointer, first of its domain: it says what may follow
 *   <model>/<domain>/000001-<digest>.safetensors  every file that the pointer lists, in its order
 *   .shipped/<model>/<domain>.json                what is remembered of shipped banks, also of domains that are gone
 *   .removed/<model>/<domain>.json                the last numbers of domains that are gone
 *   snapshot.json                                 the last: format and counts, so that a cut archive is known
 *
 * Equal stores give equal bytes.
 */
import { gateFileName, versionFileName } from './pointer-file.js'
import type { DomainRecord, VersionRecord } from '../bank-store.js'

export const SUMMARY_FILE = 'snapshot.json'

export interface SnapshotCounts {
  domains: number
  versions: number
}

/**
 * The second has memories of shipped banks, the third numbers of removed domains; each is written only where there are
 * some: older servers read the rest.
 */
export const SNAPSHOT_FORMATS = { plain: 1, shipped: 2, removed: 3 } as const

export interface Summary extends SnapshotCounts {
  format: typeof SNAPSHOT_FORMATS[keyof typeof SNAPSHOT_FORMATS]
  /** Absent for none, as the next. */
  memories?: number
  removed?: number
}

export function summaryOf ({ domains, versions }: SnapshotCounts, memories: number, removed: number): Summary {
  const { plain, shipped, removed: newest } = SNAPSHOT_FORMATS
  return {
    format: removed > 0 ? newest : memories > 0 ? shipped : plain,
    domains,
    versions,
    ...(memories === 0 ? {} : { memories }),
    ...(removed === 0 ? {} : { removed })
  }
}

export interface ListedFile {
  name: string
  sha256: string
  bytes: number
  /** Absent for the gate. */
  record?: VersionRecord
}

/** The files that belong to a domain, besides its pointer. */
export function filesOf ({ versions, gate }: DomainRecord): ListedFile[] {
  const listed = versions.map((record): ListedFile => {
    const { version, sha256: digest, bytes } = record
    return { name: versionFileName(version, digest), sha256: digest, bytes, record }
  })
  return gate === undefined ? listed : [...listed, { name: gateFileName(gate), sha256: gate.sha256, bytes: gate.bytes }]
}
