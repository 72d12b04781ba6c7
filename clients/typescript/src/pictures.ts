/** Pictures on their way to a server and back. */
import { recognisedPicture } from './recognised.js'
import type { Answer } from './transport.js'
import type { Comparison, Recognised } from './generated/api.js'
import type { CallOptions, DomainWish } from './options.js'

export type PictureType = 'image/png' | 'image/jpeg' | 'image/webp'

interface PredictOptions extends CallOptions, DomainWish {
  /** A name that nobody guesses: `progress` tells by it how far the picture has got. */
  progressKey?: string | undefined
}

export interface LabelOptions extends PredictOptions {
  accept?: undefined
  /** How many classes; 5 if not given. */
  top?: number | undefined
}

export interface PictureOptions extends PredictOptions {
  /** What the answer is to be encoded as. */
  accept: PictureType
  /** Of JPEG or WebP, 1 to 100; 92 if not given. */
  quality?: number | undefined
}

export interface CompareOptions extends CallOptions {
  accept?: undefined
  /** Such as `fog`, `fog:1` or the blend `day=0.5,fog=0.5`; all active ones if none is given. */
  domains?: readonly string[] | undefined
  /** How many classes; 5 if not given. */
  top?: number | undefined
  /** How long the call may take, in ms, further tries included; the server answers 504 beyond. */
  timeoutMs?: number | undefined
}

export interface SheetOptions extends Omit<CompareOptions, 'accept' | 'top'> {
  accept: 'image/png'
}

/** The pictures of several banks side by side, in the order of the banks. */
export interface Sheet {
  bytes: Uint8Array
  type: string
  /** With a fit where the domain has a signature; `p` has three digits. */
  banks: Array<Pick<Comparison['banks'][number], 'domain' | 'version' | 'fit' | 'p'>>
}

/** A picture that a model has made of another. */
export interface Picture {
  bytes: Uint8Array
  type: string
  domain: string
  version: number
  /** How `auto` has chosen the domain; not there where it was named. */
  recognised?: Recognised
}

/** How files of these types begin, where -1 is any byte. */
const BEGINNINGS: ReadonlyArray<readonly [PictureType, readonly number[]]> = [
  ['image/png', [0x89, 0x50, 0x4e, 0x47]],
  ['image/jpeg', [0xff, 0xd8, 0xff]],
  ['image/webp', [0x52, 0x49, 0x46, 0x46, -1, -1, -1, -1, 0x57, 0x45, 0x42, 0x50]]
]

const BEGINNING_BYTES = 12

/** The type of a picture by its first bytes; what is none the server refuses as `application/octet-stream`. */
export async function pictureType (picture: Uint8Array | Blob): Promise<string> {
  const first = picture instanceof Blob
    ? new Uint8Array(await picture.slice(0, BEGINNING_BYTES).arrayBuffer())
    : picture
  const found = BEGINNINGS.find(([, bytes]) => bytes.every((byte, at) => byte === -1 || byte === first[at]))
  return found?.[0] ?? 'application/octet-stream'
}

export function pictureOf ({ bytes, headers }: Answer): Picture {
  const recognised = recognisedPicture(headers)
  return {
    bytes,
    type: headers.get('content-type') ?? '',
    domain: headers.get('x-domain') ?? '',
    version: Number(headers.get('x-domain-version')),
    ...recognised === undefined ? {} : { recognised }
  }
}

export function sheetOf ({ bytes, headers }: Answer): Sheet {
  const list = (name: string) => (headers.get(name) ?? '').split(',')
  const [versions, fits, ps] = [list('x-domain-version'), list('x-domain-fit'), list('x-domain-p')]
  return {
    bytes,
    type: headers.get('content-type') ?? '',
    banks: list('x-domain').map((domain, at) => {
      const fit = fits[at] as 'good' | 'none' | '' | undefined
      return { domain, version: Number(versions[at]), ...fit ? { fit, p: Number(ps[at]) } : {} }
    })
  }
}
