/**
 * Folded banks in shared memory, the most recently used within a byte limit.
 *
 * Keyed by model and content, so an entry can never be stale. Concurrent requests for a missing bank share one load; a
 * load that fails is forgotten. A bank that a request holds stays valid when the cache drops it.
 */
import { LRUCache } from 'lru-cache'
import type { FoldedBank } from '../bank/fold.js'

export interface BankCacheObserver {
  onHit? (): void
  onMiss? (): void
  onEviction? (): void
}

export class BankCache {
  readonly #banks: LRUCache<string, FoldedBank>
  readonly #loading = new Map<string, Promise<FoldedBank>>()
  readonly #observer: BankCacheObserver

  constructor (bytesMax: number, observer: BankCacheObserver = {}) {
    this.#observer = observer
    this.#banks = new LRUCache<string, FoldedBank>({
      // A limit of 0 would mean none.
      maxSize: Math.max(bytesMax, 1),
      sizeCalculation: ({ byteLength }) => Math.max(1, Math.min(byteLength, bytesMax)),
      dispose: (_bank, _key, reason) => { if (reason === 'evict') observer.onEviction?.() }
    })
  }

  get size (): { count: number, bytes: number } {
    return { count: this.#banks.size, bytes: this.#banks.calculatedSize }
  }

  /** The bank under `key`, made by `load` when it is missing. Rejects with what `load` throws. */
  async get (key: string, load: () => Promise<FoldedBank>): Promise<FoldedBank> {
    const held = this.#banks.get(key)
    if (held !== undefined) {
      this.#observer.onHit?.()
      return held
    }
    let loading = this.#loading.get(key)
    if (loading === undefined) {
      this.#observer.onMiss?.()
      loading = load().finally(() => this.#loading.delete(key))
      this.#loading.set(key, loading)
    }
    const bank = await loading
    this.#banks.set(key, bank)
    return bank
  }

  /** What the bank under `key` takes; undefined when it is not here. It is not used by this. */
  bytesOf (key: string): number | undefined {
    return this.#banks.peek(key)?.byteLength
  }

  /** True while as much more would drop no other bank. */
  hasRoomFor (bytes: number): boolean {
    return this.#banks.calculatedSize + bytes <= this.#banks.maxSize
  }

  put (key: string, bank: FoldedBank): void {
    this.#banks.set(key, bank)
  }

  forget (key: string): void {
    this.#banks.delete(key)
  }
}
