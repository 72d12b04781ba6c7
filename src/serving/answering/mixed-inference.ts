/** One request whose rows are of several domains: each row is answered by its own bank, in the order of the request. */
import { gatherRows, concatenateRows, type Tensors } from '../../ort/rows.js'
import { resolveDomain, type DomainReference, type ResolvedDomain } from '../domain-reference.js'
import { servingErrors } from '../errors.js'
import { checkFeeds } from '../feeds.js'
import { inferGroups, type InferenceNeeds, type InferenceRequest, type InferenceResult } from './inference.js'
import type { ReadyModel } from '../model-states.js'

/** How many versions one request may use. */
const VERSIONS_MAX = 64

export interface MixedRequest extends Omit<InferenceRequest, 'reference'> {
  /** One for each row. */
  references: readonly DomainReference[]
}

export interface MixedResult extends Pick<InferenceResult, 'outputs' | 'queueMs' | 'inferMs' | 'runs'> {
  /** The versions that answered, in the order in which they come up first. */
  answeredBy: ReadonlyArray<Pick<InferenceResult, 'domain' | 'version' | 'digest'>>
}

/**
 * Rejects like `infer`, with ROWS_DEPENDENT for a model whose rows cannot be taken apart, INPUT_SHAPE_MISMATCH for
 * another number of references than rows, and REQUEST_TOO_MANY_VERSIONS.
 */
export async function inferMixed (
  needs: InferenceNeeds, model: ReadyModel, { references, feeds, canaryKey, ...options }: MixedRequest
): Promise<MixedResult> {
  const { artefact, entry: { manifest: { name } } } = model
  const rows = checkFeeds(artefact.inputs, feeds)
  if (references.length !== rows) {
    throw servingErrors.INPUT_SHAPE_MISMATCH('there must be one domain for each row', {
      expected: rows, received: references.length
    })
  }
  if (!artefact.proof.isRowInvariant) {
    throw servingErrors.ROWS_DEPENDENT(`the rows of "${name}" depend on each other and share one domain`)
  }
  const groups = groupRows(references, (reference) => resolveDomain(needs.store, name, reference, canaryKey))
  const results = await inferGroups(needs, model, groups.map(({ resolved, at }) => ({
    resolved, rows: at.length, feeds: gatherRows(feeds, at)
  })), options)
  return {
    answeredBy: results.map(({ domain, version, digest }) => ({ domain, version, digest })),
    outputs: inOrder(groups.map(({ at }) => at), results.map(({ outputs }) => outputs)),
    queueMs: Math.max(...results.map(({ queueMs }) => queueMs)),
    inferMs: results.reduce((sum, { inferMs }) => sum + inferMs, 0),
    runs: results.flatMap(({ runs }) => runs)
  }
}

interface RowsOfVersion {
  resolved: ResolvedDomain
  /** Which rows of the request. */
  at: number[]
}

function groupRows (
  references: readonly DomainReference[], resolve: (reference: DomainReference) => ResolvedDomain
): RowsOfVersion[] {
  const groups = new Map<string, RowsOfVersion>()
  for (const [row, reference] of references.entries()) {
    const resolved = resolve(reference)
    const key = `${resolved.record.domain}:${resolved.version.version}`
    const group = groups.get(key)
    if (group !== undefined) {
      group.at.push(row)
    } else if (groups.size === VERSIONS_MAX) {
      throw servingErrors.REQUEST_TOO_MANY_VERSIONS('the request uses too many versions', { expected: VERSIONS_MAX })
    } else {
      groups.set(key, { resolved, at: [row] })
    }
  }
  return [...groups.values()]
}

/** Puts the groups' rows back where they came from. */
function inOrder (places: readonly number[][], outputs: readonly Tensors[]): Tensors {
  const source: number[] = []
  for (const [from, row] of places.flat().entries()) source[row] = from
  return gatherRows(concatenateRows(outputs), source)
}
