/** The files of a domain that a store takes over, each verified against its pointer. */
import { sha256 } from '../base/digest.js'
import { storeErrors } from './errors.js'
import type { Pointer, VersionRecord, WholeDomain } from './bank-store.js'

/** Throws STORE_CORRUPT and what reading throws. */
export async function readWholeVersion (
  whole: WholeDomain, { version, sha256: digest }: VersionRecord
): Promise<Uint8Array> {
  return verified(await whole.readVersion(version), digest, `version ${version}`, whole.pointer)
}

/** Undefined when there is no gate or it is lost. Throws STORE_CORRUPT and what reading throws. */
export async function readWholeGate (whole: WholeDomain): Promise<Uint8Array | undefined> {
  const { pointer } = whole
  if (pointer.gate === undefined) return undefined
  const file = await whole.readGate()
  return file === undefined ? undefined : verified(file, pointer.gate.sha256, 'the gate', pointer)
}

function verified (file: Uint8Array, digest: string, what: string, { domain }: Pointer): Uint8Array {
  if (sha256(file) === digest) return file
  throw storeErrors.STORE_CORRUPT(`${what} of domain "${domain}" is not what its pointer says`, { domain })
}
