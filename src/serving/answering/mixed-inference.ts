/** One request whose rows are of several domains: each row is answered by its own bank, in the order of the request. */
import { gatherRows, concatenateRows, type Tensors } from '../../ort/rows.js'
import { parseReference } from '../blend-reference.js'
import { nameOfChosen, type ChosenVersion } from '../blends.js'
import { servingErrors } from '../errors.js'
import { checkFeeds } from '../feeds.js'
import { chooseVersion, type LeasedVersion } from './choose-version.js'
import { inferGroups, type InferenceNeeds, type InferenceRequest, type InferenceResult } from './inference.js'
import type { ReadyModel } from '../model-states.js'
import type { VersionWish } from '../version-wish.js'

/** How many versions one request may use. */
const VERSIONS_MAX = 64

export interface MixedRequest extends Pick<InferenceRequest, 'wish' | 'signal' | 'inputMs'> {
  /** One reference for each row; an empty one is for the domain that the whole request would get. */
  rows: readonly string[]
  feeds: Tensors
}

export interface MixedResult extends Pick<InferenceResult, 'outputs' | 'queueMs' | 'inferMs' | 'runs'> {
  /** The versions that answered, in the order in which they come up first. */
  answeredBy: ReadonlyArray<Pick<InferenceResult, 'domain' | 'version' | 'digest' | 'countedAs'>>
}

/**
 * Rejects like `infer`, with ROWS_DEPENDENT for a model whose rows cannot be taken apart, INPUT_SHAPE_MISMATCH for
 * another number of references than rows, and REQUEST_TOO_MANY_VERSIONS.
 */
export async function inferMixed (
  needs: InferenceNeeds, model: ReadyModel, { wish, rows: texts, feeds, ...options }: MixedRequest
): Promise<MixedResult> {
  const { artefact, entry: { manifest } } = model
  const wishes = wishesOf(texts, wish)
  const rows = checkFeeds(artefact.inputs, feeds)
  if (texts.length !== rows) {
    throw servingErrors.INPUT_SHAPE_MISMATCH('there must be one domain for each row', {
      expected: rows, received: texts.length
    })
  }
  if (!artefact.proof.isRowInvariant) {
    throw servingErrors.ROWS_DEPENDENT(`the rows of "${manifest.name}" depend on each other and share one domain`)
  }
  const held: LeasedVersion[] = []
  try {
    for (const one of wishes.values()) held.push(await chooseVersion(needs, manifest, one, { feeds }))
    const groups = groupRows(texts, new Map([...wishes.keys()].map((text, at) => [text, held[at]!])))
    const results = await inferGroups(needs, model, groups.map(({ resolved, at }) => ({
      resolved, rows: at.length, feeds: gatherRows(feeds, at)
    })), options)
    return {
      answeredBy: results.map(({ domain, version, digest, countedAs }) => ({ domain, version, digest, countedAs })),
      outputs: inOrder(groups.map(({ at }) => at), results.map(({ outputs }) => outputs)),
      queueMs: Math.max(...results.map(({ queueMs }) => queueMs)),
      inferMs: results.reduce((sum, { inferMs }) => sum + inferMs, 0),
      runs: results.flatMap(({ runs }) => runs)
    }
  } finally {
    for (const { release } of held) release()
  }
}

/** One for each different text, in the order in which they come up. Throws DOMAIN_REFERENCE_INVALID. */
function wishesOf (texts: readonly string[], wish: VersionWish): Map<string, VersionWish> {
  return new Map([...new Set(texts)].map((row) => {
    if (row === '') return [row, wish]
    parseReference(row)
    return [row, { row, canaryKey: wish.canaryKey }]
  }))
}

interface RowsOfVersion {
  resolved: ChosenVersion
  /** Which rows of the request. */
  at: number[]
}

/** Throws REQUEST_TOO_MANY_VERSIONS. */
function groupRows (texts: readonly string[], chosen: ReadonlyMap<string, LeasedVersion>): RowsOfVersion[] {
  const groups = new Map<string, RowsOfVersion>()
  for (const [row, text] of texts.entries()) {
    const resolved = chosen.get(text)!
    const key = `${nameOfChosen(resolved)}:${resolved.version.version}`
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
