/**
 * A new version of a domain: from what a client sent to a stored, packed and active bank.
 *
 * Everything that can be wrong is found before the store is touched: form, fingerprint, layers, lengths, values, and
 * whether the folded values still fit float32.
 */
import { bankDigest, completeBank, type Bank, type PartialLayer } from '../bank/bank.js'
import { bankErrors } from '../bank/errors.js'
import { parseBankJson } from '../bank/formats/bank-json.js'
import { parseBankSafetensors, serializeBankSafetensors } from '../bank/formats/bank-safetensors.js'
import { entryOf } from '../models/manifest.js'
import { bankKey, packShared, type InferenceParts } from './inference.js'
import type { DomainRecord, ExpectedRevision, VersionRecord, VersionSource } from '../store/bank-store.js'
import type { TensorToWrite } from '../bank/formats/safetensors.js'
import type { ReadyModel } from './served-models.js'

export interface RegistrationOptions {
  isActivated: boolean
  description?: string
  expected?: ExpectedRevision
}

export interface Registered {
  record: DomainRecord
  version: VersionRecord
  /** Tensors of the file that are no batch-norm statistics; the first IGNORED_MAX of them. */
  ignored: string[]
}

/** What a version's file says about itself, in its safetensors metadata. */
export const METADATA = {
  FORMAT: 'bankswitch.format', FINGERPRINT: 'bankswitch.fingerprint', SOURCE: 'bankswitch.source'
} as const

const FILE_FORMAT = '1'
const IGNORED_MAX = 100

type Parts = Pick<InferenceParts, 'store' | 'banks' | 'metrics'>

/** Throws what `parseBankJson`, `completeBank`, `packBank` and the store throw. */
export async function registerJson (
  parts: Parts, model: ReadyModel, domain: string, body: Uint8Array, options: RegistrationOptions
): Promise<Registered> {
  const { description, layers } = parseBankJson(body)
  const described = description === undefined ? options : { ...options, description }
  return await register(parts, model, domain, completed(model, layers), 'json', described)
}

/**
 * Throws what `parseBankSafetensors`, `completeBank`, `packBank` and the store throw, and BANK_FINGERPRINT_MISMATCH
 * when the file names another network than this one.
 */
export async function registerSafetensors (
  parts: Parts, model: ReadyModel, domain: string, body: Uint8Array, options: RegistrationOptions
): Promise<Registered> {
  const { layers, ignored, metadata } = parseBankSafetensors(body, model.artefact.layers)
  const fingerprint = metadata.get(METADATA.FINGERPRINT)
  if (fingerprint !== undefined && fingerprint !== model.artefact.fingerprint) {
    throw bankErrors.BANK_FINGERPRINT_MISMATCH('the bank belongs to another network', {
      expected: model.artefact.fingerprint, received: fingerprint.slice(0, 100)
    })
  }
  const registered = await register(parts, model, domain, completed(model, layers), 'safetensors', options)
  return { ...registered, ignored: ignored.slice(0, IGNORED_MAX) }
}

/** What a version's file holds besides the bank. */
export interface FileParts {
  tensors: readonly TensorToWrite[]
  metadata: ReadonlyArray<readonly [string, string]>
}

/** The file that a version is. */
export function versionFile (
  { artefact }: ReadyModel, bank: Bank, source: VersionSource, { tensors, metadata }: FileParts
): Uint8Array<ArrayBuffer> {
  return serializeBankSafetensors(bank, new Map([
    [METADATA.FORMAT, FILE_FORMAT], [METADATA.FINGERPRINT, artefact.fingerprint], [METADATA.SOURCE, source], ...metadata
  ]), tensors)
}

/** Registers a complete bank that was made here. */
export async function register (
  { store, banks, metrics }: Parts, model: ReadyModel, domain: string, bank: Bank, source: VersionSource,
  { isActivated, description, expected }: RegistrationOptions, more: FileParts = { tensors: [], metadata: [] }
): Promise<Registered> {
  const { artefact, entry } = model
  const packed = packShared(model, bank)
  const digest = bankDigest(bank)
  const file = versionFile(model, bank, source, more)
  const { name } = entry.manifest
  const isNew = store.domain(name, domain) === undefined
  const told = description ?? (isNew ? entryOf(entry.manifest, domain)?.description : undefined)
  const record = await store.publish(name, domain, {
    file,
    digest,
    fingerprint: artefact.fingerprint,
    source,
    isActivated,
    ...(told === undefined ? {} : { description: told })
  }, expected)
  banks.put(bankKey(model, digest), packed)
  metrics.countRegistration(name)
  return { record, version: record.versions.at(-1)!, ignored: [] }
}

function completed ({ artefact }: ReadyModel, layers: ReadonlyMap<string, PartialLayer>): Bank {
  return completeBank(artefact.layers, layers, artefact.ownBank)
}
