/**
 * Sums of another site into a domain, or out of it again: read, added and registered upon the revision that was read.
 * When somebody changes the domain meanwhile it begins anew, so that of many at once every one counts; a caller that
 * expects a revision of its own is told instead.
 */
import { readOwnBank } from '../../bank/formats/bank-safetensors.js'
import { BankswitchError } from '../../base/errors.js'
import {
  bankOf, combine, contributionParts, parseContribution, type Contribution, type Operation
} from '../../calibration/contributions.js'
import { calibrationErrors } from '../../calibration/errors.js'
import { IMAGES_MIN } from '../../calibration/options.js'
import { signatureParts } from '../../signature/file-parts.js'
import { checkRevision } from '../../store/changes.js'
import { joinExtras } from '../changing/administration.js'
import { resolveDomain } from '../domain-reference.js'
import { partsKept } from './signatures.js'
import type { Bank } from '../../bank/bank.js'
import type { BankStore } from '../../store/bank-store.js'
import type { Signature } from '../../signature/signature.js'
import type { Administration, Registered, RegistrationOptions } from '../changing/administration.js'
import type { ReadyModel } from '../model-states.js'

/** Each time it was another change that came first. */
const ATTEMPTS_MAX = 100

/** What contributing needs. */
export interface ContributionNeeds {
  store: Pick<BankStore, 'domain' | 'domains' | 'read'>
  registerMade: Administration['registerMade']
}

export interface GivenContribution {
  operation: Operation
  /** A bank file with its sums. */
  file: Uint8Array
  /** Fewer images in the result are refused. */
  minimumImages: number
}

/**
 * Merges the sums of a bank file with those of the domain's active version, or takes them out, and registers the bank
 * that results. A domain that is not there yet begins with the file alone. Throws CONTRIBUTION_MISSING,
 * CONTRIBUTION_MISMATCH, CALIBRATION_TOO_FEW_IMAGES, PRECONDITION_FAILED and what registering throws.
 */
export async function contribute (
  needs: ContributionNeeds, ready: ReadyModel, domain: string, given: GivenContribution, options: RegistrationOptions
): Promise<Registered & { images: number }> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await contributeOnce(needs, ready, domain, given, options)
    } catch (error) {
      const isOvertaken = error instanceof BankswitchError && error.code === 'PRECONDITION_FAILED'
      if (!isOvertaken || options.expected !== undefined || attempt === ATTEMPTS_MAX) throw error
    }
  }
}

async function contributeOnce (
  needs: ContributionNeeds, ready: ReadyModel, domain: string,
  { operation, file, minimumImages }: GivenContribution, options: RegistrationOptions
): Promise<Registered & { images: number }> {
  const { layers } = ready.artefact
  const given = parseContribution(file, layers)
  const record = needs.store.domain(ready.entry.manifest.name, domain)
  checkRevision(domain, record, options.expected)
  const isNew = record === undefined && operation === 'merge'
  const whole = isNew ? undefined : await storedContribution(needs, ready, domain)
  const least = Math.max(IMAGES_MIN, minimumImages)
  const sums = whole === undefined ? atLeast(given, least) : combine(operation, whole.sums, given, least)
  const bank = bankOf(sums, layers, whole?.bank ?? readOwnBank(file, layers))
  const registered = await needs.registerMade(
    ready, domain, bank, 'calibration', { ...options, expected: record?.revision ?? 0 },
    // Images of another site are of the domain too: what told it until now still does.
    joinExtras(contributionParts(sums), signatureParts(whole?.signatures ?? []))
  )
  return { ...registered, images: sums.images }
}

/** Of the active version as it is when this is called. */
async function storedContribution (
  { store }: ContributionNeeds, ready: ReadyModel, domain: string
): Promise<{ bank: Bank, sums: Contribution, signatures: readonly Signature[] }> {
  const { name } = ready.entry.manifest
  const { version } = resolveDomain(store, name, { domain })
  const file = await store.read(name, domain, version.version)
  const { layers } = ready.artefact
  const { signatures } = partsKept(file, layers)
  return { bank: readOwnBank(file, layers), sums: parseContribution(file, layers), signatures }
}

function atLeast (contribution: Contribution, minimumImages: number): Contribution {
  if (contribution.images >= minimumImages) return contribution
  throw calibrationErrors.CALIBRATION_TOO_FEW_IMAGES('the contribution is too small', {
    expected: `at least ${minimumImages} images`, received: contribution.images
  })
}
