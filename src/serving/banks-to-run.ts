/** Banks as the workers take them: folded, in shared memory, named by artefact and content. */
import { bankDigest, completeBank, type Bank } from '../bank/bank.js'
import { blendBanks } from '../bank/blend.js'
import { bankErrors } from '../bank/errors.js'
import { foldBank, foldedLength, type FoldedBank } from '../bank/fold.js'
import { readOwnBank } from '../bank/formats/bank-safetensors.js'
import { digestOfChosen, sharesOfBanks, type Blend, type ChosenVersion } from './blends.js'
import type { BankCache } from '../runtime/bank-cache.js'
import type { BankStore } from '../store/bank-store.js'
import type { ResolvedDomain } from './domain-reference.js'
import type { ReadyModel } from './model-states.js'

export interface BankToRun {
  folded: FoldedBank
  digest: string
}

export interface BankSources {
  store: Pick<BankStore, 'read'>
  banks: Pick<BankCache, 'get'>
}

/** Names a bank as the workers have it: of which artefact, with which content. */
export function bankKey (model: ReadyModel, digest: string): string {
  return `${model.served.id}:${digest}`
}

/**
 * The bank that answers: from memory, else from the store, blended where it is a blend. Rejects with
 * BANK_FINGERPRINT_MISMATCH, and what reading and folding throw.
 */
export function foldedBank (
  { banks, store }: BankSources, model: ReadyModel, chosen: ChosenVersion
): Promise<FoldedBank> {
  return banks.get(bankKey(model, digestOfChosen(chosen)), async () => {
    return foldShared(model, await statistics(store, model, chosen))
  })
}

/** The same, with the digest that names it. Rejects like `foldedBank`. */
export async function bankToRun (sources: BankSources, model: ReadyModel, chosen: ChosenVersion): Promise<BankToRun> {
  return { folded: await foldedBank(sources, model, chosen), digest: digestOfChosen(chosen) }
}

/** Of a version or a blend. Rejects like `foldedBank`, but for folding. */
export async function statistics (
  store: BankSources['store'], model: ReadyModel, chosen: ChosenVersion
): Promise<Bank> {
  return await (chosen.blend === undefined ? readBank(store, model, chosen) : blended(store, model, chosen.blend))
}

/** Rejects with BANK_VALUE_INVALID for a variance beyond float32. */
async function blended (store: BankSources['store'], model: ReadyModel, { parts }: Blend): Promise<Bank> {
  const read = await Promise.all(sharesOfBanks(parts).map(async ({ hundredths, part }) => {
    return { weight: hundredths / 100, bank: await readBank(store, model, part) }
  }))
  const { layers, ownBank } = model.artefact
  return completeBank(layers, blendBanks(layers, read), ownBank)
}

async function readBank (
  store: BankSources['store'], { artefact, entry }: ReadyModel, { record, version }: ResolvedDomain
): Promise<Bank> {
  if (version.fingerprint !== artefact.fingerprint) {
    throw bankErrors.BANK_FINGERPRINT_MISMATCH(
      `version ${version.version} of domain "${record.domain}" belongs to another network`,
      { expected: artefact.fingerprint, received: version.fingerprint }
    )
  }
  return readOwnBank(await store.read(entry.manifest.name, record.domain, version.version), artefact.layers)
}

/** What any folded bank of the model takes. */
export function foldedBytes ({ artefact: { layers } }: Pick<ReadyModel, 'artefact'>): number {
  return foldedLength(layers) * Float64Array.BYTES_PER_ELEMENT
}

/** Folds into shared memory, which every worker can pack from. Throws BANK_VALUE_INVALID beyond float32. */
export function foldShared (model: ReadyModel, bank: Bank): FoldedBank {
  const { artefact: { layers }, range } = model
  const shared = new SharedArrayBuffer(foldedBytes(model))
  const folded = foldBank(layers, bank, new Float64Array(shared))
  range.require(folded)
  return folded
}

/** Of statistics that are in no store, or not yet. Throws like `foldShared`. */
export function madeBankToRun (model: ReadyModel, bank: Bank): BankToRun {
  return { folded: foldShared(model, bank), digest: bankDigest(bank) }
}

/** The statistics that stand in the model itself. Throws like `foldShared`. */
export function ownBankOf (model: ReadyModel): BankToRun {
  return madeBankToRun(model, model.artefact.ownBank)
}
