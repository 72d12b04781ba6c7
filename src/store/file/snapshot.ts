/**
 * The form of a snapshot, a whole store as one tar archive. Entries:
 *
 *   <model>/<domain>/domain.json                  the pointer, first of its domain: it says what may follow
 *   <model>/<domain>/000001-<digest>.safetensors  every file that the pointer lists, in its order
 *   snapshot.json                                 the last: format and counts, so that a cut archive is known
 *
 * Equal stores give equal bytes.
 */
import { gateFileName, versionFileName } from './pointer-file.js'
import type { DomainRecord } from '../bank-store.js'

export const SUMMARY_FILE = 'snapshot.json'

export interface SnapshotCounts {
  domains: number
  versions: number
}

export interface Summary extends SnapshotCounts {
  format: 1
}

export interface ListedFile {
  name: string
  sha256: string
  bytes: number
}

/** The files that belong to a domain, besides its pointer. */
export function filesOf ({ versions, gate }: DomainRecord): ListedFile[] {
  const listed = versions.map(({ version, sha256: digest, bytes }) => {
    return { name: versionFileName(version, digest), sha256: digest, bytes }
  })
  return gate === undefined ? listed : [...listed, { name: gateFileName(gate), sha256: gate.sha256, bytes: gate.bytes }]
}
