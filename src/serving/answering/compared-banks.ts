/** Which banks a comparison asks: those that it names, or all; and what one of them has done wrong. */
import { BankswitchError } from '../../base/errors.js'
import { parseReference } from '../blend-reference.js'
import { leaseChosen, nameOfChosen, resolveReference, type ChosenVersion } from '../blends.js'
import { servingErrors } from '../errors.js'
import type { PictureManifest } from '../../models/manifest.js'
import type { BankStore } from '../../store/bank-store.js'
import type { Leases } from '../leases.js'
import type { DomainFit } from '../recognising/recognition.js'

/** A bank is a row of a run, or all tiles of a picture and its canvas. */
const BANKS_MAX = { classification: 32, 'image-to-image': 8 } as const

/**
 * The versions that `references` name, each once and in their order, or all active ones of the model. Canaries have no
 * part. Throws REQUEST_TOO_MANY_VERSIONS, and what parsing and resolving throw.
 */
export function banksToCompare (
  store: Pick<BankStore, 'domain' | 'domains'>, manifest: PictureManifest, references: readonly string[] | undefined
): ChosenVersion[] {
  const { name, task, defaultDomain } = manifest
  const active = store.domains(name).flatMap(({ domain, active }) => active === null ? [] : [domain])
  // Without any, the default domain's error tells what is wrong.
  const texts = references ?? (active.length === 0 ? [defaultDomain] : active)
  if (texts.length > BANKS_MAX[task]) {
    const hint = references === undefined ? '; name some in ?domains=' : ''
    throw servingErrors.REQUEST_TOO_MANY_VERSIONS(`the comparison asks too many banks${hint}`, {
      expected: `at most ${BANKS_MAX[task]}`, received: texts.length
    })
  }
  const chosen = new Map<string, ChosenVersion>()
  for (const text of texts) {
    const one = resolveReference(store, manifest, parseReference(text))
    chosen.set(bankName(one), one)
  }
  return [...chosen.values()]
}

/** Runs `work` while all versions are held. Rejects with VERSION_LEAVING. */
export async function holdingAll<T> (
  leases: Pick<Leases, 'take'>, model: string, chosen: readonly ChosenVersion[], work: () => Promise<T>
): Promise<T> {
  const release = leaseChosen(leases, model, ...chosen)
  try {
    return await work()
  } finally {
    release()
  }
}

/** Domain and version, or what a blend is called. */
export function bankName (chosen: ChosenVersion): string {
  return chosen.blend?.text ?? `${nameOfChosen(chosen)}:${chosen.version.version}`
}

/** How well the picture fits the domain; nothing for a blend, or for a version whose signature does not count. */
export function fitUnder (
  chosen: ChosenVersion, fits: ReadonlyMap<string, DomainFit> | undefined
): Partial<DomainFit> {
  return fits?.get(bankName(chosen)) ?? {}
}

/** `work`, whose errors name the bank as well: the others may be right. */
export async function underBank<T> (chosen: ChosenVersion, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof BankswitchError)) throw error
    const bank = bankName(chosen)
    throw new BankswitchError(error.code, error.kind, `${error.message} (${bank})`, { ...error.details, bank }, error)
  }
}
