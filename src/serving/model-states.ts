/** Models on their way from a folder to the workers, and the state each is in. */
import { modelErrors } from '../models/errors.js'
import type { FoldedRange } from '../bank/folded-range.js'
import type { Artefact } from '../compiler/artefact.js'
import type { ModelEntry } from '../models/repository.js'
import type { ServedModel } from '../runtime/messages.js'
import type { RunMemory } from './run-memory.js'

export interface ReadyModel {
  readonly entry: ModelEntry
  readonly artefact: Artefact
  readonly range: FoldedRange
  readonly served: ServedModel
  /** Reads what signatures are made of; absent for a network that has no stem. */
  readonly stem?: ServedModel
  readonly memory: RunMemory
}

export type ModelState =
  | { readonly state: 'loading', readonly entry: ModelEntry }
  | { readonly state: 'failed', readonly entry: ModelEntry, readonly error: Error }
  | { readonly state: 'ready' } & ReadyModel

export class ModelStates {
  readonly #states: Map<string, ModelState>

  constructor (entries: readonly ModelEntry[]) {
    this.#states = new Map(entries.map((entry) => [entry.manifest.name, { state: 'loading', entry }]))
  }

  all (): ModelState[] {
    return [...this.#states.values()]
  }

  /** True once every model can serve; a failed one keeps the server from being ready. */
  get isReady (): boolean {
    return this.all().every(({ state }) => state === 'ready')
  }

  setReady (model: ReadyModel): void {
    this.#states.set(model.entry.manifest.name, { state: 'ready', ...model })
  }

  setFailed (entry: ModelEntry, error: Error): void {
    this.#states.set(entry.manifest.name, { state: 'failed', entry, error })
  }

  /** Throws MODEL_NOT_FOUND naming the known ones. */
  get (name: string): ModelState {
    const state = this.#states.get(name)
    if (state !== undefined) return state
    const known = [...this.#states.keys()]
    throw modelErrors.MODEL_NOT_FOUND(`there is no model "${name.slice(0, 100)}"; there is ${known.join(', ')}`, {
      expected: known, received: name.slice(0, 100)
    })
  }

  /** Throws MODEL_NOT_FOUND, MODEL_NOT_READY or MODEL_FAILED. */
  ready (name: string): ReadyModel {
    const model = this.get(name)
    if (model.state === 'ready') return model
    if (model.state === 'loading') throw modelErrors.MODEL_NOT_READY(`model "${name}" is still being prepared`)
    throw modelErrors.MODEL_FAILED(`model "${name}" could not be prepared; the log says why`)
  }
}
