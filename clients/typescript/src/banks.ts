/** Banks on their way to a server. */
import type { CallOptions, PreconditionOptions } from './options.js'

export interface BankLayer {
  mean: ArrayLike<number>
  variance: ArrayLike<number>
  /** The model's if not given. */
  gamma?: ArrayLike<number> | undefined
  /** The model's if not given. */
  beta?: ArrayLike<number> | undefined
}

/** A bank by values; `GET /v1/models/{model}` tells the keys of the layers and how long they are. */
export interface BankValues {
  description?: string | undefined
  preprocessing?: Record<string, unknown> | undefined
  layers: Readonly<Record<string, BankLayer>>
}

interface NewVersionOptions extends CallOptions, PreconditionOptions {
  /** Serve the new version at once; false only stores it. */
  activate?: boolean | undefined
}

export interface RegisterOptions extends NewVersionOptions {
  /** How pictures for it are prepared, where it differs from the model. */
  preprocessing?: Record<string, unknown> | undefined
}

export interface BlendOptions extends NewVersionOptions {
  description?: string | undefined
}

/** A file goes as it is, and the server tells its form from the bytes; values go as JSON. */
export function encodeBank (bank: Uint8Array | Blob | BankValues): { body: Uint8Array | Blob | string, type: string } {
  if (!('layers' in bank)) return { body: bank, type: 'application/octet-stream' }
  const plain = (_: string, value: unknown) => {
    return ArrayBuffer.isView(value) ? Array.from(value as unknown as ArrayLike<number>) : value
  }
  return { body: JSON.stringify(bank, plain), type: 'application/json' }
}
