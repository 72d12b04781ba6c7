/** A blend of domains, kept as a version of a domain of its own. */
import { isDeepStrictEqual } from 'node:util'
import { METADATA } from '../../bank/formats/bank-safetensors.js'
import { takesPictures } from '../../models/manifest.js'
import { rulesOf } from '../../models/preprocessing.js'
import { statistics } from '../banks-to-run.js'
import { describeBlend, isBlend, parseReference } from '../blend-reference.js'
import { leaseChosen, resolveBlend, type ChosenVersion } from '../blends.js'
import { withNews } from '../domain-reference.js'
import { servingErrors } from '../errors.js'
import { register, type Registered, type RegistrationNeeds, type RegistrationOptions } from './registration.js'
import type { BankStore } from '../../store/bank-store.js'
import type { Leases } from '../leases.js'
import type { ReadyModel } from '../model-states.js'

/** What keeping a blend needs. */
export interface BlendNeeds extends RegistrationNeeds {
  store: RegistrationNeeds['store'] & Pick<BankStore, 'domains' | 'read' | 'catchUp'>
  leases: Pick<Leases, 'take'>
}

export interface RegisteredBlend extends Registered {
  /** The parts with their versions and shares. */
  blend: string
}

/**
 * Registers what `text`, as X-Domain has it, blends: the bank that a request for it is answered under, bit for bit.
 * Pictures for it are prepared as they are for its parts, and its file says what it was made of. Throws
 * DOMAIN_REFERENCE_INVALID for a domain without a share, and what resolving, reading and `register` throw.
 */
export async function registerBlend (
  needs: BlendNeeds, model: ReadyModel, domain: string, text: string,
  options: Omit<RegistrationOptions, 'preprocessing'>
): Promise<RegisteredBlend> {
  const { manifest } = model.entry
  const reference = parseReference(text)
  if (!isBlend(reference)) {
    throw servingErrors.DOMAIN_REFERENCE_INVALID('this is no blend of domains', {
      expected: 'domains with shares, such as day=0.7,lowlight=0.3', received: text.slice(0, 100)
    })
  }
  const { chosen, release } = await withNews(needs.store, () => {
    const chosen = resolveBlend(needs.store, manifest, reference)
    return { chosen, release: leaseChosen(needs.leases, manifest.name, chosen) }
  })
  try {
    const bank = await statistics(needs.store, model, chosen)
    const parts = (chosen.blend?.parts ?? [{ ...chosen, hundredths: 100 }]).map(({ record, version, hundredths }) => {
      return { domain: record.domain, version: version.version, digest: version.digest, hundredths }
    })
    const registered = await register(
      needs, model, domain, bank, 'blend', { ...options, ...preprocessingOf(model, domain, chosen) },
      { tensors: [], metadata: [[METADATA.BLEND, JSON.stringify(parts)]] }
    )
    return { ...registered, blend: describeBlend(parts) }
  } finally {
    release()
  }
}

/** The parts' rules, where the domain's own differ. */
function preprocessingOf (
  { entry: { manifest } }: ReadyModel, domain: string, { record, version }: ChosenVersion
): Pick<RegistrationOptions, 'preprocessing'> {
  if (!takesPictures(manifest)) return {}
  const preprocessing = rulesOf(manifest, record.domain, version.preprocessing)
  return isDeepStrictEqual(preprocessing, rulesOf(manifest, domain)) ? {} : { preprocessing }
}
