/**
 * A new version of a domain: from what a client sent to a stored, folded and active bank.
 *
 * Everything that can be wrong with the bank itself is found before the store is touched: form, fingerprint, layers,
 * lengths, values, and whether the folded values still fit float32. What only its answers show keeps it from being
 * activated, not from being stored.
 */
import { completeBank, type Bank } from '../../bank/bank.js'
import { compareConvolutions, type ComparedConvolutions } from '../../bank/convolution-weights.js'
import { bankErrors } from '../../bank/errors.js'
import { METADATA, serializeBankSafetensors } from '../../bank/formats/bank-safetensors.js'
import { parseSafetensors, type TensorToWrite } from '../../bank/formats/safetensors.js'
import { entryOf } from '../../models/preprocessing.js'
import { hasSignatures, isSignatureTensor, parseSignatures, signatureParts } from '../../signature/file-parts.js'
import { bankKey, madeBankToRun } from '../banks-to-run.js'
import { AUTO } from '../domain-reference.js'
import { servingErrors } from '../errors.js'
import { gateFailed, tryCandidate, type TrialNeeds } from './gates.js'
import { checkedPreprocessing } from './registered-preprocessing.js'
import type { Metrics } from '../../observability/metrics.js'
import type { BankCache } from '../../runtime/bank-cache.js'
import type {
  BankStore, DomainRecord, ExpectedRevision, VersionRecord, VersionSource
} from '../../store/bank-store.js'
import type { BankFormat } from '../../bank/formats/format.js'
import type { ReadyModel } from '../model-states.js'

export interface RegistrationOptions {
  isActivated: boolean
  description?: string
  /** How pictures for this version are prepared, unchecked; goes before what the bank itself says. */
  preprocessing?: unknown
  expected?: ExpectedRevision
}

export interface Registered {
  record: DomainRecord
  version: VersionRecord
  /** Tensors of the file that are no batch-norm statistics; the first IGNORED_MAX of them. */
  ignored: string[]
  warnings: RegistrationWarning[]
}

export interface RegistrationWarning {
  code: 'CONVOLUTIONS_DIFFER' | 'SIGNATURE_STALE'
  message: string
}

const FILE_FORMAT = '1'
const IGNORED_MAX = 100
/** Foreign convolutions that a warning names. */
const FOREIGN_NAMED = 3

/** What registering a bank needs. */
export interface RegistrationNeeds extends TrialNeeds {
  store: TrialNeeds['store'] & Pick<BankStore, 'publish'>
  banks: Pick<BankCache, 'put'>
  metrics: Pick<Metrics, 'countRegistration'>
}

/**
 * Registers a bank as it came. Throws what the format's `parse`, `completeBank`, `checkedPreprocessing`, `register`,
 * `parseSignatures` and the store throw, and BANK_FINGERPRINT_MISMATCH when the bank names another network than this.
 */
export async function registerFile (
  needs: RegistrationNeeds, model: ReadyModel, domain: string, format: BankFormat, body: Uint8Array,
  options: RegistrationOptions
): Promise<Registered> {
  const { artefact } = model
  const parsed = await format.parse(body, artefact.layers)
  const { layers, description, preprocessing, fingerprint, ignored, weights } = parsed
  if (fingerprint !== undefined && fingerprint !== artefact.fingerprint) {
    throw bankErrors.BANK_FINGERPRINT_MISMATCH('the bank belongs to another network', {
      expected: artefact.fingerprint, received: fingerprint.slice(0, 100)
    })
  }
  const bank = completeBank(artefact.layers, layers, artefact.ownBank)
  const own = {
    ...(preprocessing === undefined ? {} : { preprocessing }),
    ...options,
    ...(description === undefined ? {} : { description })
  }
  const signatures = hasSignatures(parsed.metadata) ? parseSignatures(parseSafetensors(body)) : []
  const current = signatures.filter(({ origin: { stem } }) => stem === artefact.stem?.digest)
  const registered = await register(needs, model, domain, bank, format.name, own, signatureParts(current))
  return {
    ...registered,
    ignored: ignored.filter((name) => !isSignatureTensor(name)).slice(0, IGNORED_MAX),
    warnings: [
      ...warningsOf(compareConvolutions(artefact.convolutions, weights)),
      ...current.length < signatures.length ? [STALE] : []
    ]
  }
}

const STALE: RegistrationWarning = {
  code: 'SIGNATURE_STALE',
  message: 'the signature in the file is of another network and left out; make one with: bankswitch signature'
}

function warningsOf ({ compared, foreign }: ComparedConvolutions): RegistrationWarning[] {
  if (foreign.length === 0) return []
  const named = foreign.slice(0, FOREIGN_NAMED).map((name) => `"${name.slice(0, 100)}"`).join(', ')
  return [{
    code: 'CONVOLUTIONS_DIFFER',
    message: `${foreign.length} of ${compared} convolutions in the file have other weights than the model's (${named}` +
      `${foreign.length > FOREIGN_NAMED ? ', …' : ''}): the model's are used, for which these statistics were not made`
  }]
}

/** Throws DOMAIN_NAME_RESERVED: requests mean something else by this name. */
function requireName (domain: string): void {
  if (domain !== AUTO) return
  throw servingErrors.DOMAIN_NAME_RESERVED(`"${AUTO}" stands for the domain that a picture looks like`, {
    expected: 'another name', received: domain
  })
}

/** What a version's file holds besides the bank. */
export interface FileExtras {
  tensors: readonly TensorToWrite[]
  metadata: ReadonlyArray<readonly [string, string]>
}

/** Of parts that have no tensor and no metadata in common. */
export function joinExtras (...parts: readonly FileExtras[]): FileExtras {
  return { tensors: parts.flatMap(({ tensors }) => tensors), metadata: parts.flatMap(({ metadata }) => metadata) }
}

/** The file that a version is. */
export function versionFile (
  { artefact }: ReadyModel, bank: Bank, source: VersionSource, { tensors, metadata }: FileExtras
): Uint8Array<ArrayBuffer> {
  return serializeBankSafetensors(bank, new Map([
    [METADATA.FORMAT, FILE_FORMAT], [METADATA.FINGERPRINT, artefact.fingerprint], [METADATA.SOURCE, source], ...metadata
  ]), tensors)
}

/**
 * Registers a complete bank that was made here. Throws GATE_FAILED for one that is to be activated and must not be: it
 * is stored all the same, and the error tells its version.
 */
export async function register (
  needs: RegistrationNeeds, model: ReadyModel, domain: string, bank: Bank, source: VersionSource,
  options: RegistrationOptions, extras: FileExtras = { tensors: [], metadata: [] }
): Promise<Registered> {
  const { store, banks, metrics } = needs
  const { isActivated, description, expected } = options
  const { artefact, entry } = model
  requireName(domain)
  const toRun = madeBankToRun(model, bank)
  const { folded, digest } = toRun
  const preprocessing = options.preprocessing === undefined
    ? undefined
    : await checkedPreprocessing(needs, model, domain, options.preprocessing, toRun)
  const file = versionFile(model, bank, source, preprocessing === undefined
    ? extras
    : joinExtras(extras, { tensors: [], metadata: [[METADATA.PREPROCESSING, JSON.stringify(preprocessing)]] }))
  const { name } = entry.manifest
  // Without the model's own statistics there would be no default domain at all.
  const isTried = isActivated && source !== 'model'
  const verdict = isTried ? await tryCandidate(needs, model, domain, toRun, preprocessing) : undefined
  const isNew = store.domain(name, domain) === undefined
  const shown = description ?? (isNew ? entryOf(entry.manifest, domain)?.description : undefined)
  const record = await store.publish(name, domain, {
    file,
    digest,
    fingerprint: artefact.fingerprint,
    source,
    isActivated: isActivated && verdict?.fault === undefined,
    ...(verdict === undefined ? {} : { passed: verdict.passed }),
    ...(preprocessing === undefined ? {} : { preprocessing }),
    ...(shown === undefined ? {} : { description: shown })
  }, expected)
  banks.put(bankKey(model, digest), folded)
  metrics.countRegistration(name)
  const version = record.versions.at(-1)!
  if (verdict?.fault !== undefined) throw gateFailed(name, domain, version.version, verdict.fault)
  return { record, version, ignored: [], warnings: [] }
}
