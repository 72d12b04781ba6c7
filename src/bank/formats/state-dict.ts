/** A bank out of named tensors with PyTorch's names: what a state_dict has, whatever container it came in. */
import type { BatchNormLayer, PartialLayer, Statistic } from '../bank.js'
import type { ParsedBank } from './format.js'

export const SUFFIX_OF: Readonly<Record<Statistic, string>> = {
  mean: 'running_mean', variance: 'running_var', gamma: 'weight', beta: 'bias'
}

/** Prefixes that training wrappers put before every key (DataParallel, Lightning, torch.compile, detection heads). */
const WRAPPER_PREFIXES = ['module.', 'model.', '_orig_mod.', 'backbone.']
const WRAPPERS_MAX = 4

/**
 * The statistics among the tensors; the rest is listed by name.
 *
 * A layer is whatever has a running_mean or running_var, known to the model or not, so that a bank of another model is
 * told by its keys instead of being ignored. Throws what `valuesOf` throws, which is asked for statistics only.
 */
export function layersOfTensors<Tensor> (
  tensors: ReadonlyMap<string, Tensor>, valuesOf: (name: string, tensor: Tensor) => ArrayLike<number>,
  layers: readonly BatchNormLayer[]
): Pick<ParsedBank, 'layers' | 'ignored'> {
  const prefix = wrapperPrefix([...tensors.keys()], layers)
  const keys = new Set(layers.map(({ key }) => key))
  for (const name of tensors.keys()) {
    const split = splitName(name, prefix)
    if (split !== undefined && (split.statistic === 'mean' || split.statistic === 'variance')) keys.add(split.key)
  }
  const found: Pick<ParsedBank, 'layers' | 'ignored'> = { layers: new Map(), ignored: [] }
  for (const [name, tensor] of tensors) {
    const split = splitName(name, prefix)
    if (split === undefined || !keys.has(split.key)) {
      found.ignored.push(name)
      continue
    }
    const layer: PartialLayer = found.layers.get(split.key) ?? {}
    layer[split.statistic] = valuesOf(name, tensor)
    found.layers.set(split.key, layer)
  }
  return found
}

function splitName (name: string, prefix: string): { key: string, statistic: Statistic } | undefined {
  if (!name.startsWith(prefix)) return undefined
  for (const [statistic, suffix] of Object.entries(SUFFIX_OF) as Array<[Statistic, string]>) {
    if (name.endsWith(`.${suffix}`)) return { key: name.slice(prefix.length, -suffix.length - 1), statistic }
  }
  return undefined
}

/** The wrapper prefixes, one within the other, under which the file has the model's layers, or none. */
function wrapperPrefix (names: readonly string[], layers: readonly BatchNormLayer[]): string {
  const have = new Set(names)
  const covers = (prefix: string) => layers.some(({ key }) => have.has(`${prefix}${key}.${SUFFIX_OF.mean}`))
  const stackedIn = (name: string, depth = WRAPPERS_MAX): string => {
    const outer = depth === 0 ? undefined : WRAPPER_PREFIXES.find((prefix) => name.startsWith(prefix))
    return outer === undefined ? '' : outer + stackedIn(name.slice(outer.length), depth - 1)
  }
  if (covers('')) return ''
  // A layer's own key may begin like a wrapper, so that every stack of them is a candidate, the longest last.
  const stack = names.map((name) => stackedIn(name)).reduce((a, b) => b.length > a.length ? b : a, '')
  const candidates = [...stack.matchAll(/\./g)].map(({ index }) => stack.slice(0, index + 1))
  return candidates.find(covers) ?? ''
}
