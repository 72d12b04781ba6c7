/** The statistics in a downloaded version: a safetensors file with PyTorch's names, as the server writes it. */
import type { PartialLayer } from '../../bank/bank.js'

const SUFFIXES = { running_mean: 'mean', running_var: 'variance', weight: 'gamma', bias: 'beta' } as const

const HEADER_BEGIN = 8

/** By layer, in alphabetical order. */
export function readBank (file: Uint8Array): Map<string, PartialLayer> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const bodyBegin = HEADER_BEGIN + Number(view.getBigUint64(0, true))
  const header = JSON.parse(new TextDecoder().decode(file.subarray(HEADER_BEGIN, bodyBegin))) as
    Record<string, { dtype: string, data_offsets: [number, number] }>
  const layers = new Map<string, PartialLayer>()
  for (const [name, { dtype, data_offsets: offsets }] of Object.entries(header)) {
    const dot = name.lastIndexOf('.')
    const statistic = SUFFIXES[name.slice(dot + 1) as keyof typeof SUFFIXES] as keyof PartialLayer | undefined
    if (statistic === undefined || dtype !== 'F32') continue
    const [begin, end] = offsets
    const layer = layers.get(name.slice(0, dot)) ?? {}
    layer[statistic] = Float32Array.from({ length: (end - begin) / 4 }, (_, at) => {
      return view.getFloat32(bodyBegin + begin + 4 * at, true)
    })
    layers.set(name.slice(0, dot), layer)
  }
  return layers
}

export interface Range {
  least: number
  middle: number
  most: number
}

export function rangeOf (values: ArrayLike<number>): Range {
  const sorted = Array.from(values).sort((a, b) => a - b)
  return { least: sorted[0]!, middle: sorted[Math.floor(sorted.length / 2)]!, most: sorted.at(-1)! }
}
