/** Compressed answers for clients that take them; the work is done on Node's own threads. */
import { promisify } from 'node:util'
import { constants, deflate, gzip } from 'node:zlib'

const squeeze = {
  gzip: promisify<Buffer, object, Buffer>(gzip),
  deflate: promisify<Buffer, object, Buffer>(deflate)
}

export type Encoding = keyof typeof squeeze

/** Tensors hardly get smaller, however long one tries. */
const OPTIONS = { level: constants.Z_BEST_SPEED }

/** The encoding that a client likes best of those we have; undefined for none. `q=0` forbids one (RFC 9110, 12.5.3). */
export function chosenEncoding (acceptEncoding: string | undefined): Encoding | undefined {
  let best: Encoding | undefined
  let bestWeight = 0
  for (const part of (acceptEncoding ?? '').slice(0, 1000).toLowerCase().split(',')) {
    const [coding = '', ...parameters] = part.split(';').map((text) => text.trim())
    const weight = Number(parameters.find((text) => text.startsWith('q='))?.slice(2) ?? 1)
    if ((coding === 'gzip' || coding === 'deflate') && weight > bestWeight) [best, bestWeight] = [coding, weight]
  }
  return best
}

export function compress (body: Buffer, encoding: Encoding): Promise<Buffer> {
  return squeeze[encoding](body, OPTIONS)
}
