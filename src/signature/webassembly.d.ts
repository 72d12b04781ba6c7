/** The part of WebAssembly that is used here: the types of Node leave it to those of browsers. */
declare namespace WebAssembly {
  class Memory {
    constructor (limits: { initial: number, maximum?: number })
    readonly buffer: ArrayBuffer
    grow (pages: number): number
  }

  class Module {
    constructor (bytes: Uint8Array)
  }

  class Instance {
    constructor (module: Module, imports: Record<string, Record<string, Memory>>)
    readonly exports: Record<string, (...values: number[]) => void>
  }

  function validate (bytes: Uint8Array): boolean
}
