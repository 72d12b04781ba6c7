/** Changes of domains and their versions, each checked against what is in use. */
import { registerFile, type Registered, type RegistrationOptions } from './registration.js'
import { resolveDomain } from './domain-reference.js'
import { servingErrors } from './errors.js'
import { gateFailed, storeGate, tryCandidate, type GateRules } from './gates.js'
import { bankKey, foldedBank, foldShared, leaseKey, type InferenceParts } from './inference.js'
import { bankDigest } from '../bank/bank.js'
import type { BankFormat } from '../bank/formats/format.js'
import type { DomainRecord, ExpectedRevision, Mark, PassedGate, VersionRecord } from '../store/bank-store.js'
import { noReport, type ShadowReport } from './shadows.js'
import type { Goldens } from './goldens.js'
import type { ServedModels } from './served-models.js'

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
    return await registerFile(this.#parts, this.#models.ready(model), domain, format, body, options)
  }

  /** Throws DOMAIN_NOT_FOUND or VERSION_NOT_FOUND. */
  async download (
    model: string, domain: string, version: number
  ): Promise<{ file: Uint8Array, version: VersionRecord }> {
    this.#models.get(model)
    const resolved = resolveDomain(this.#parts.store, model, { domain, version })
    return { file: await this.#parts.store.read(model, domain, version), version: resolved.version }
  }

  /**
   * Throws also GATE_FAILED, BANK_FINGERPRINT_MISMATCH and STORE_CORRUPT: what cannot be served is not activated.
   */
  async activate (model: string, domain: string, version: number, expected?: ExpectedRevision): Promise<DomainRecord> {
    const passed = await this.#requireFit(model, domain, version)
    return await this.#parts.store.activate(model, domain, version, expected, passed)
  }

  /** Sets a label, the canary or the shadow, or takes it away. Throws like `activate`; a shadow passes no gate. */
  async mark (model: string, domain: string, mark: Mark, expected?: ExpectedRevision): Promise<DomainRecord> {
    const ready = this.#models.ready(model)
    const version = mark.kind === 'label' ? mark.version : mark.candidate?.version
    if (version === undefined) return await this.#parts.store.mark(model, domain, mark, expected)
    if (mark.kind === 'shadow') {
      await foldedBank(this.#parts, ready, resolveDomain(this.#parts.store, model, { domain, version }))
      return await this.#parts.store.mark(model, domain, mark, expected)
    }
    const passed = await this.#requireFit(model, domain, version)
    return await this.#parts.store.mark(model, domain, mark, expected, passed)
  }

  /** How the shadow of a domain compares so far. Throws DOMAIN_NOT_FOUND, SHADOW_NOT_FOUND. */
  shadow (model: string, domain: string): ShadowReport {
    this.#models.get(model)
    const { record: { shadow, active } } = resolveDomain(this.#parts.store, model, { domain })
    if (shadow === undefined) throw servingErrors.SHADOW_NOT_FOUND(`domain "${domain}" has no shadow`)
    return this.#parts.shadows?.report(model, domain, shadow.version) ?? noReport(shadow.version, active!)
  }

  /** Throws what `storeGate` throws. */
  async setGate (
    model: string, domain: string, goldens: Goldens, rules: GateRules, expected?: ExpectedRevision
  ): Promise<DomainRecord> {
    const ready = this.#models.ready(model)
    const { ownBank } = ready.artefact
    const bank = { folded: foldShared(ready, ownBank), digest: bankDigest(ownBank) }
    return await storeGate(this.#parts, ready, domain, goldens, rules, bank, expected)
  }

  /** Throws GATE_NOT_FOUND. */
  async gate (model: string, domain: string): Promise<Uint8Array> {
    this.#models.get(model)
    return await this.#parts.store.readGate(model, domain)
  }

  /** Throws GATE_NOT_FOUND. */
  async removeGate (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord> {
    this.#models.get(model)
    return await this.#parts.store.removeGate(model, domain, expected)
  }

  /** Requests for the domain get DOMAIN_INACTIVE until a version is activated. Throws DOMAIN_IS_DEFAULT. */
  async deactivate (model: string, domain: string): Promise<DomainRecord> {
    this.#requireNotDefault(model, domain)
    return await this.#parts.store.deactivate(model, domain)
  }

  /** Throws ROLLBACK_IMPOSSIBLE, and like `activate` for a version that cannot be served. */
  async rollBack (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord> {
    this.#models.ready(model)
    const record = this.#parts.store.domain(model, domain)
    const version = record?.previous.at(-1)
    if (version === undefined) return await this.#parts.store.rollBack(model, domain, expected)
    const passed = await this.#requireFit(model, domain, version)
    // Of the domain as it was: a change meanwhile would make another version the one before.
    return await this.#parts.store.rollBack(model, domain, expected ?? record!.revision, passed)
  }

  /** Throws VERSION_ACTIVE, or VERSION_LEASED while a request uses the version. */
  async removeVersion (
    model: string, domain: string, version: number, expected?: ExpectedRevision
  ): Promise<DomainRecord> {
    this.#models.get(model)
    return await this.#parts.leases.remove(leaseKey(model, domain, version), async () => {
      const before = this.#parts.store.domain(model, domain)
      const record = await this.#parts.store.removeVersion(model, domain, version, expected)
      this.#forget(model, domain, before?.versions.filter((one) => one.version === version))
      return record
    })
  }

  /** Throws DOMAIN_IS_DEFAULT, or VERSION_LEASED while a request uses the domain. */
  async removeDomain (model: string, domain: string, expected?: ExpectedRevision): Promise<void> {
    this.#requireNotDefault(model, domain)
    await this.#parts.leases.remove(leaseKey(model, domain, ''), async () => {
      const before = this.#parts.store.domain(model, domain)
      await this.#parts.store.removeDomain(model, domain, expected)
      this.#forget(model, domain, before?.versions)
      this.#parts.shadows?.forget(model, domain)
    })
  }

  /** Frees what memory holds of versions that are gone; a bank that another version shares is folded again. */
  #forget (model: string, domain: string, versions: readonly VersionRecord[] = []): void {
    const { banks, pool, statistics } = this.#parts
    const state = this.#models.get(model)
    for (const { version, digest } of versions) {
      statistics.forget(leaseKey(model, domain, version))
      if (state.state !== 'ready') continue
      banks.forget(bankKey(state, digest))
      pool.forget(bankKey(state, digest))
    }
  }

  /** The gate that the version has passed. Throws GATE_FAILED and what folding throws. */
  async #requireFit (model: string, domain: string, version: number): Promise<PassedGate> {
    const ready = this.#models.ready(model)
    const resolved = resolveDomain(this.#parts.store, model, { domain, version })
    const { digest, preprocessing } = resolved.version
    const bank = { folded: await foldedBank(this.#parts, ready, resolved), digest }
    const { passed, fault } = await tryCandidate(this.#parts, ready, domain, bank, preprocessing)
    if (fault !== undefined) throw gateFailed(model, domain, version, fault)
    return passed
  }

  #requireNotDefault (model: string, domain: string): void {
    const { entry: { manifest } } = this.#models.get(model)
    if (manifest.defaultDomain !== domain) return
    throw servingErrors.DOMAIN_IS_DEFAULT(`domain "${domain}" is the model's default and stays`)
  }
}
