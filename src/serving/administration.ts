/** Changes of domains and their versions, each checked against what is in use. */
import { registerJson, registerSafetensors, type Registered, type RegistrationOptions } from './registration.js'
import { resolveDomain } from './domain-reference.js'
import { servingErrors } from './errors.js'
import { leaseKey, foldedBank, type InferenceParts } from './inference.js'
import type { DomainRecord, ExpectedRevision, VersionRecord } from '../store/bank-store.js'
import type { ServedModels } from './served-models.js'

export type BankFormat = 'json' | 'safetensors'

export class Administration {
  readonly #parts: InferenceParts
  readonly #models: ServedModels

  constructor (parts: InferenceParts, models: ServedModels) {
    this.#parts = parts
    this.#models = models
  }

  /** Stores a new version and activates it unless told not to. Throws what serving/registration.ts throws. */
  async register (
    model: string, domain: string, format: BankFormat, body: Uint8Array, options: RegistrationOptions
  ): Promise<Registered> {
    const ready = this.#models.ready(model)
    const registerAs = format === 'json' ? registerJson : registerSafetensors
    return await registerAs(this.#parts, ready, domain, body, options)
  }

  /** Throws DOMAIN_NOT_FOUND or VERSION_NOT_FOUND. */
  async download (
    model: string, domain: string, version: number
  ): Promise<{ file: Uint8Array, version: VersionRecord }> {
    this.#models.get(model)
    const resolved = resolveDomain(this.#parts.store, model, { domain, version })
    return { file: await this.#parts.store.read(model, domain, version), version: resolved.version }
  }

  /** Throws also BANK_FINGERPRINT_MISMATCH and STORE_CORRUPT: what cannot be served is not activated. */
  async activate (model: string, domain: string, version: number, expected?: ExpectedRevision): Promise<DomainRecord> {
    const ready = this.#models.ready(model)
    await foldedBank(this.#parts, ready, resolveDomain(this.#parts.store, model, { domain, version }))
    return await this.#parts.store.activate(model, domain, version, expected)
  }

  /** Requests for the domain get DOMAIN_INACTIVE until a version is activated. Throws DOMAIN_IS_DEFAULT. */
  async deactivate (model: string, domain: string): Promise<DomainRecord> {
    this.#requireNotDefault(model, domain)
    return await this.#parts.store.deactivate(model, domain)
  }

  /** Throws ROLLBACK_IMPOSSIBLE, and like `activate` for a version that cannot be served. */
  async rollBack (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord> {
    const ready = this.#models.ready(model)
    const version = this.#parts.store.domain(model, domain)?.previous.at(-1)
    if (version !== undefined) {
      await foldedBank(this.#parts, ready, resolveDomain(this.#parts.store, model, { domain, version }))
    }
    return await this.#parts.store.rollBack(model, domain, expected)
  }

  /** Throws VERSION_ACTIVE, or VERSION_LEASED while a request uses the version. */
  async removeVersion (
    model: string, domain: string, version: number, expected?: ExpectedRevision
  ): Promise<DomainRecord> {
    this.#models.get(model)
    return await this.#parts.leases.remove(leaseKey(model, domain, version), async () => {
      return await this.#parts.store.removeVersion(model, domain, version, expected)
    })
  }

  /** Throws DOMAIN_IS_DEFAULT, or VERSION_LEASED while a request uses the domain. */
  async removeDomain (model: string, domain: string, expected?: ExpectedRevision): Promise<void> {
    this.#requireNotDefault(model, domain)
    await this.#parts.leases.remove(leaseKey(model, domain, ''), async () => {
      await this.#parts.store.removeDomain(model, domain, expected)
    })
  }

  #requireNotDefault (model: string, domain: string): void {
    const { entry: { manifest } } = this.#models.get(model)
    if (manifest.defaultDomain !== domain) return
    throw servingErrors.DOMAIN_IS_DEFAULT(`domain "${domain}" is the model's default and stays`)
  }
}
