/**
 * Float32 arrays that begin on a cache line.
 *
 * Kernels of the runtime load up to 64 bytes at a time; from an array that begins anywhere, as JavaScript's own do,
 * each load touches two cache lines, and a network with folded weights from a bank takes up to 8 % longer. JavaScript
 * cannot ask for an alignment, but the memory of WebAssembly begins on a page.
 */

/** The part that is used here; the types of Node 20 leave it out. */
declare const WebAssembly: {
  Memory: new (descriptor: { initial: number, maximum: number }) => { readonly buffer: ArrayBuffer }
}

/** Of a WebAssembly memory (WebAssembly JavaScript Interface, "Memories"). */
const PAGE_BYTES = 65_536
const PAGES_MAX = 65_536

/** Of every machine that we run on. */
const CACHE_LINE_BYTES = 64

const FLOAT_BYTES = Float32Array.BYTES_PER_ELEMENT

/** A memory reserves gigabytes of addresses, whatever its size, so small arrays share one. */
const SLAB_BYTES = 2 ** 20

/** Zeros. Where there are no more addresses to be had, an array that begins anywhere. */
export function alignedFloats (length: number): Float32Array {
  const pages = Math.max(1, Math.ceil(length * FLOAT_BYTES / PAGE_BYTES))
  if (pages > PAGES_MAX) return new Float32Array(length)
  try {
    return new Float32Array(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer, 0, length)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return new Float32Array(length)
  }
}

/** Arrays of one length that are taken and given back, several in one memory. */
export class AlignedSlots {
  readonly #length: number
  readonly #stride: number
  readonly #perSlab: number
  /** Free slots of every slab. */
  readonly #slabs = new Map<ArrayBufferLike, Float32Array[]>()

  constructor (length: number) {
    this.#length = length
    this.#stride = Math.ceil(length * FLOAT_BYTES / CACHE_LINE_BYTES) * CACHE_LINE_BYTES / FLOAT_BYTES
    this.#perSlab = Math.max(1, Math.floor(SLAB_BYTES / FLOAT_BYTES / Math.max(1, this.#stride)))
  }

  /** Holds what it held when it was given back. */
  take (): Float32Array {
    for (const free of this.#slabs.values()) {
      const slot = free.pop()
      if (slot !== undefined) return slot
    }
    const slab = alignedFloats(this.#stride * this.#perSlab)
    const free = Array.from({ length: this.#perSlab }, (_, at) => {
      return slab.subarray(at * this.#stride, at * this.#stride + this.#length)
    })
    this.#slabs.set(slab.buffer, free)
    return free.pop()!
  }

  /** A memory that is free as a whole goes when there are free slots elsewhere. */
  give (slot: Float32Array): void {
    const free = this.#slabs.get(slot.buffer)!
    free.push(slot)
    if (free.length < this.#perSlab) return
    for (const other of this.#slabs.values()) {
      if (other === free || other.length === 0) continue
      this.#slabs.delete(slot.buffer)
      return
    }
  }
}
