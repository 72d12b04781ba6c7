/** Changes of domains and their versions, each checked against what is in use. */
import { noReport, type ShadowReport } from '../answering/answering.js'
import { bankKey, bankToRun, foldedBank, ownBankOf } from '../banks-to-run.js'
import { resolveDomain, type DomainReference } from '../domain-reference.js'
import { servingErrors } from '../errors.js'
import { leaseKey, type Leases } from '../leases.js'
import { registerBlend, type BlendNeeds, type RegisteredBlend } from './blend-version.js'
import { gateFailed, storeGate, tryCandidate, type GateRules } from './gates.js'
import {
  register, registerFile, type FileExtras, type Registered, type RegistrationOptions
} from './registration.js'
import type { Bank } from '../../bank/bank.js'
import type { BankFormat } from '../../bank/formats/format.js'
import type { Metrics } from '../../observability/metrics.js'
import type { TrafficBook } from '../../observability/traffic.js'
import type { BankCache } from '../../runtime/bank-cache.js'
import type { InferencePool } from '../../runtime/pool.js'
import type {
  BankStore, DomainRecord, ExpectedRevision, Gone, Mark, PassedGate, VersionRecord, VersionSource
} from '../../store/bank-store.js'
import type { HotDomains } from '../heating/hot-domains.js'
import type { ModelStates, ReadyModel } from '../model-states.js'
import type { Goldens } from './goldens.js'

export { parseGoldens, type Goldens } from './goldens.js'
export {
  joinExtras, versionFile, type FileExtras, type Registered, type RegistrationOptions
} from './registration.js'

/** What changing domains needs. */
export interface AdministrationNeeds extends BlendNeeds {
  store: BankStore
  pool: Pick<InferencePool, 'submit' | 'keepOpen' | 'forget'>
  banks: Pick<BankCache, 'get' | 'put' | 'forget'>
  leases: Pick<Leases, 'take' | 'remove' | 'whenFree'>
  traffic: Pick<TrafficBook, 'forget'>
  hot: Pick<HotDomains, 'forget'>
  metrics: Pick<Metrics, 'countRegistration' | 'forgetDomain'>
  shadows: {
    report (model: string, domain: string, version: number): ShadowReport | undefined
    forget (model: string, domain: string): void
  }
}

export class Administration {
  readonly #needs: AdministrationNeeds
  readonly #models: ModelStates

  constructor (needs: AdministrationNeeds, models: ModelStates) {
    this.#needs = needs
    this.#models = models
    needs.store.onGone((gone) => this.#forget(gone))
  }

  /** Stores a new version and activates it unless told not to. Throws what registration.ts throws. */
  async register (
    model: string, domain: string, format: BankFormat, body: Uint8Array, options: RegistrationOptions
  ): Promise<Registered> {
    return await registerFile(this.#needs, this.#models.ready(model), domain, format, body, options)
  }

  /** Registers a complete bank that was made here. Throws like `register`. */
  async registerMade (
    model: ReadyModel, domain: string, bank: Bank, source: VersionSource, options: RegistrationOptions,
    extras?: FileExtras
  ): Promise<Registered> {
    return await register(this.#needs, model, domain, bank, source, options, extras)
  }

  /** Registers what `text` blends, such as `day=0.7,lowlight=0.3`. Throws what blend-version.ts throws. */
  async registerBlend (
    model: string, domain: string, text: string, options: Omit<RegistrationOptions, 'preprocessing'>
  ): Promise<RegisteredBlend> {
    return await registerBlend(this.#needs, this.#models.ready(model), domain, text, options)
  }

  /** Throws DOMAIN_NOT_FOUND or VERSION_NOT_FOUND. */
  async download (
    model: string, domain: string, version: number
  ): Promise<{ file: Uint8Array, version: VersionRecord }> {
    this.#models.get(model)
    const resolved = resolveDomain(this.#needs.store, model, { domain, version })
    return { file: await this.#needs.store.read(model, domain, version), version: resolved.version }
  }

  /**
   * Throws also GATE_FAILED, BANK_FINGERPRINT_MISMATCH and STORE_CORRUPT: what cannot be served is not activated.
   */
  async activate (model: string, domain: string, version: number, expected?: ExpectedRevision): Promise<DomainRecord> {
    const passed = await this.#requireFit(model, domain, version)
    return await this.#needs.store.activate(model, domain, version, expected, passed)
  }

  /** The version that the reference pins, else the active one, else the newest. Throws what resolving throws. */
  versionToLoad (model: string, reference: DomainReference): number {
    const record = this.#needs.store.domain(model, reference.domain)
    const newest = record?.active ?? record?.versions.at(-1)?.version
    const isPinned = reference.version !== undefined || reference.label !== undefined
    const wanted = isPinned || newest === undefined ? reference : { ...reference, version: newest }
    return resolveDomain(this.#needs.store, model, wanted).version.version
  }

  /** Sets a label, the canary or the shadow, or takes it away. Throws like `activate`; a shadow passes no gate. */
  async mark (model: string, domain: string, mark: Mark, expected?: ExpectedRevision): Promise<DomainRecord> {
    const ready = this.#models.ready(model)
    const version = mark.kind === 'label' ? mark.version : mark.candidate?.version
    if (version === undefined) return await this.#needs.store.mark(model, domain, mark, expected)
    if (mark.kind === 'shadow') {
      await foldedBank(this.#needs, ready, resolveDomain(this.#needs.store, model, { domain, version }))
      return await this.#needs.store.mark(model, domain, mark, expected)
    }
    const passed = await this.#requireFit(model, domain, version)
    return await this.#needs.store.mark(model, domain, mark, expected, passed)
  }

  /** How the shadow of a domain compares so far. Throws DOMAIN_NOT_FOUND, SHADOW_NOT_FOUND. */
  shadow (model: string, domain: string): ShadowReport {
    this.#models.get(model)
    const { record: { shadow, active } } = resolveDomain(this.#needs.store, model, { domain })
    if (shadow === undefined) throw servingErrors.SHADOW_NOT_FOUND(`domain "${domain}" has no shadow`)
    return this.#needs.shadows.report(model, domain, shadow.version) ?? noReport(shadow.version, active!)
  }

  /** Throws what `storeGate` throws. */
  async setGate (
    model: string, domain: string, goldens: Goldens, rules: GateRules, expected?: ExpectedRevision
  ): Promise<DomainRecord> {
    const ready = this.#models.ready(model)
    return await storeGate(this.#needs, ready, domain, goldens, rules, ownBankOf(ready), expected)
  }

  /** Throws GATE_NOT_FOUND. */
  async gate (model: string, domain: string): Promise<Uint8Array> {
    this.#models.get(model)
    return await this.#needs.store.readGate(model, domain)
  }

  /** Throws GATE_NOT_FOUND. */
  async removeGate (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord> {
    this.#models.get(model)
    return await this.#needs.store.removeGate(model, domain, expected)
  }

  /** Requests for the domain get DOMAIN_INACTIVE until a version is activated. Throws DOMAIN_IS_DEFAULT. */
  async deactivate (model: string, domain: string): Promise<DomainRecord> {
    this.#requireNotDefault(model, domain)
    return await this.#needs.store.deactivate(model, domain)
  }

  /** Throws ROLLBACK_IMPOSSIBLE, and like `activate` for a version that cannot be served. */
  async rollBack (model: string, domain: string, expected?: ExpectedRevision): Promise<DomainRecord> {
    this.#models.ready(model)
    const record = this.#needs.store.domain(model, domain)
    const version = record?.previous.at(-1)
    if (version === undefined) return await this.#needs.store.rollBack(model, domain, expected)
    const passed = await this.#requireFit(model, domain, version)
    // Of the domain as it was: a change meanwhile would make another version the one before.
    return await this.#needs.store.rollBack(model, domain, expected ?? record!.revision, passed)
  }

  /** Throws VERSION_ACTIVE, or VERSION_LEASED while a request uses the version. */
  async removeVersion (
    model: string, domain: string, version: number, expected?: ExpectedRevision
  ): Promise<DomainRecord> {
    this.#models.get(model)
    return await this.#needs.leases.remove(leaseKey(model, domain, version), async () => {
      return await this.#needs.store.removeVersion(model, domain, version, expected)
    })
  }

  /** Throws DOMAIN_IS_DEFAULT, or VERSION_LEASED while a request uses the domain. */
  async removeDomain (model: string, domain: string, expected?: ExpectedRevision): Promise<void> {
    this.#requireNotDefault(model, domain)
    await this.#needs.leases.remove(leaseKey(model, domain, ''), async () => {
      await this.#needs.store.removeDomain(model, domain, expected)
    })
  }

  /**
   * Frees what memory holds of versions that are gone, once what they still answer is counted. A bank that another
   * version shares is folded again.
   */
  #forget ({ model, domain, versions, isWhole }: Gone): void {
    const { banks, pool, hot, traffic, leases, shadows, metrics } = this.#needs
    for (const { version, digest } of versions) {
      const key = leaseKey(model, domain, version)
      leases.whenFree(key, () => {
        traffic.forget(key)
        const state = this.#models.all().find(({ entry }) => entry.manifest.name === model)
        if (state?.state !== 'ready') return
        for (const holder of [banks, pool, hot]) holder.forget(bankKey(state, digest))
      })
    }
    if (!isWhole) return
    leases.whenFree(leaseKey(model, domain, ''), () => {
      shadows.forget(model, domain)
      metrics.forgetDomain(model, domain)
    })
  }

  /** The gate that the version has passed. Throws GATE_FAILED and what folding throws. */
  async #requireFit (model: string, domain: string, version: number): Promise<PassedGate> {
    const ready = this.#models.ready(model)
    const resolved = resolveDomain(this.#needs.store, model, { domain, version })
    const bank = await bankToRun(this.#needs, ready, resolved)
    const { passed, fault } = await tryCandidate(this.#needs, ready, domain, bank, resolved.version.preprocessing)
    if (fault !== undefined) throw gateFailed(model, domain, version, fault)
    return passed
  }

  #requireNotDefault (model: string, domain: string): void {
    const { entry: { manifest } } = this.#models.get(model)
    if (manifest.defaultDomain !== domain) return
    throw servingErrors.DOMAIN_IS_DEFAULT(`domain "${domain}" is the model's default and stays`)
  }
}
