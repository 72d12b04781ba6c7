/**
 * What a batch norm is called.
 *
 * A bank's layer keys should be the module paths of the training code (`layer1.0.bn1`), so that a state_dict is a bank.
 * Where they can come from, best first:
 *
 *  1. parameter names with PyTorch's suffixes, when all four slots agree: then nothing was merged
 *  2. node metadata `pkg.torch.onnx.name_scopes` (torch's dynamo exporter): the path of every enclosing module
 *  3. a node name `/layer1/layer1.0/bn1/BatchNormalization` (torch's TorchScript exporter)
 *  4. parameter names by vote; a merged parameter may carry the name of another layer
 *  5. the node's own name
 */
import type { NodeProto } from '../onnx/generated/onnx_pb.js'

const NAME_SCOPES = 'pkg.torch.onnx.name_scopes'

/** PyTorch's name of each input slot from 1 on. */
const SLOT_SUFFIXES = ['weight', 'bias', 'running_mean', 'running_var']

export interface KeyCandidates {
  /** The module path, where one is known: it tells apart layers whose parameters were merged. */
  path?: string
  /** Possible keys, best first. */
  names: string[]
}

/** `origins` are the names of the initializers behind slots 1 to 4, where there is exactly one. */
export function layerKeyCandidates (node: NodeProto, origins: ReadonlyArray<string | undefined>): KeyCandidates {
  const votes = countVotes(node, origins)
  const voted = [...votes].sort(([, a], [, b]) => b - a).map(([key]) => key)
  if (voted[0] !== undefined && votes.get(voted[0]) === SLOT_SUFFIXES.length) return { path: voted[0], names: voted }
  const path = fromScopes(node) ?? fromNodePath(node.name)
  return path === undefined ? { names: voted } : { path, names: [path, ...voted] }
}

/** The metadata is a Python list of strings: ['', 'layer1', 'layer1.0', 'layer1.0.bn1', 'batch_norm_3']. */
function fromScopes (node: NodeProto): string | undefined {
  const text = node.metadataProps.find(({ key }) => key === NAME_SCOPES)?.value
  if (text === undefined) return undefined
  const scopes = [...text.matchAll(/'([^']*)'|"([^"]*)"/g)].map((match) => match[1] ?? match[2] ?? '')
  return scopes.at(-2) || undefined
}

/** Module names of a torch export repeat their parent (`/layer1/layer1.0/bn1/…`). */
function fromNodePath (name: string): string | undefined {
  const parts = name.split('/')
  if (parts.length < 3 || parts[0] !== '' || !/^BatchNormalization(_\d+)?$/.test(parts.at(-1)!)) return undefined
  const modules = parts.slice(1, -1)
  return modules.filter((part, at) => modules[at + 1]?.startsWith(`${part}.`) !== true).join('.')
}

/** How many slots name each key, by the slot's own input or by the initializer behind it. */
function countVotes (node: NodeProto, origins: ReadonlyArray<string | undefined>): Map<string, number> {
  const votes = new Map<string, number>()
  for (const [at, pytorchName] of SLOT_SUFFIXES.entries()) {
    const suffix = `.${pytorchName}`
    for (const name of new Set([node.input[at + 1], origins[at]])) {
      if (name?.endsWith(suffix) !== true || name.length === suffix.length) continue
      const key = name.slice(0, -suffix.length)
      votes.set(key, (votes.get(key) ?? 0) + 1)
    }
  }
  return votes
}
