/** What PyTorch computed, as training/traffic_signs.py wrote it. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { floatValues, parseSafetensors } from '#src/bank/formats/safetensors.js'
import { ROOT } from './folders.js'

export const SIGN_DOMAINS = ['day', 'lowlight', 'lowres', 'fog'] as const

export interface GoldenTensor {
  shape: number[]
  values: Float32Array | Float64Array
}

/** Tensors `<domain>.inputs`, `<domain>.logits` and `<domain>.layers.<layer>.{mean,variance}`. */
export async function readGolden (): Promise<Map<string, GoldenTensor>> {
  const { tensors } = parseSafetensors(await readFile(join(ROOT, 'test/golden/traffic-signs.safetensors')))
  return new Map([...tensors].map(([name, tensor]) => [name, { shape: tensor.shape, values: floatValues(name, tensor) }]))
}
