/** One request whose rows are of several domains: each row is answered by its own bank, in the order of the request. */
import { gatherRows, concatenateRows, type Tensors } from '../../ort/rows.js'
import { nameOfChosen, type ChosenVersion } from '../blends.js'
import { servingErrors } from '../errors.js'
import { checkFeeds } from '../feeds.js'
import { chooseVersion, type LeasedVersion } from './choose-version.js'
import {
  fromOf, inferGroups, timesTogether, type InferenceNeeds, type InferenceRequest, type InferenceResult
} from './inference.js'
import type { ReadyModel } from '../model-states.js'
import type { From, Recognised } from '../recognising/recognition.js'
import type { Manifest } from '../../models/manifest.js'
import { isAuto, type VersionWish } from '../version-wish.js'

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
  /** By row, where any row's domain was chosen by what was sent; undefined for a row that named its own. */
  recognised?: ReadonlyArray<Recognised | undefined>
}

/**
 * Rejects like `infer`, with ROWS_DEPENDENT for a model whose rows cannot be taken apart, INPUT_SHAPE_MISMATCH for
 * another number of references than rows, and REQUEST_TOO_MANY_VERSIONS.
 */
export async function inferMixed (
  needs: InferenceNeeds, model: ReadyModel, { wish, rows: texts, feeds, ...options }: MixedRequest
): Promise<MixedResult> {
  const { artefact, entry: { manifest } } = model
  const automatic = automaticOf(texts, wish, manifest)
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
    const recognised = await recogniseRows(needs, model, { texts, automatic, feeds }, fromOf(wish, options.signal))
    const chosen: LeasedVersion[] = []
    const known = new Map<string, LeasedVersion>()
    for (const [row, text] of texts.entries()) {
      const found = recognised?.[row]
      const key = `${text}\n${found?.domain ?? ''}`
      let version = known.get(key)
      if (version === undefined) {
        version = await chooseVersion(needs, manifest, wishOf(text, wish), {
          feeds, ...(found === undefined ? {} : { recognise: () => Promise.resolve(found) })
        })
        held.push(version)
        known.set(key, version)
      }
      chosen.push(version)
    }
    const groups = groupRows(chosen)
    const results = await inferGroups(needs, model, groups.map(({ resolved, at }) => ({
      resolved,
      rows: at.length,
      feeds: gatherRows(feeds, at),
      isChosen: at.map((row) => recognised?.[row] !== undefined)
    })), { wish, ...options })
    return {
      answeredBy: results.map(({ domain, version, digest, countedAs }) => ({ domain, version, digest, countedAs })),
      outputs: inOrder(groups.map(({ at }) => at), results.map(({ outputs }) => outputs)),
      ...(recognised === undefined ? {} : { recognised }),
      ...timesTogether(results)
    }
  } finally {
    for (const { release } of held) release()
  }
}

/** What a row says of itself; an empty text leaves it to the request. */
function wishOf (row: string, wish: VersionWish): VersionWish {
  return row === '' ? wish : { row, canaryKey: wish.canaryKey, sender: wish.sender }
}

/** The texts whose rows are to be recognised. Throws DOMAIN_REFERENCE_INVALID for a text of no sense. */
function automaticOf (texts: readonly string[], wish: VersionWish, manifest: Manifest): Set<string> {
  return new Set([...new Set(texts)].filter((text) => isAuto(wishOf(text, wish), manifest)))
}

interface RowsToTell {
  texts: readonly string[]
  automatic: ReadonlySet<string>
  feeds: Tensors
}

/** By row; undefined where no row is to be recognised. */
async function recogniseRows (
  needs: InferenceNeeds, model: ReadyModel, { texts, automatic, feeds }: RowsToTell, from: From
): Promise<Array<Recognised | undefined> | undefined> {
  const at = [...texts.keys()].filter((row) => automatic.has(texts[row]!))
  if (at.length === 0) return undefined
  const found = await needs.recognition.rows(model, gatherRows(feeds, at), from)
  const byRow: Array<Recognised | undefined> = texts.map(() => undefined)
  for (const [place, row] of at.entries()) byRow[row] = found[place]
  return byRow
}

interface RowsOfVersion {
  resolved: ChosenVersion
  /** Which rows of the request. */
  at: number[]
}

/** Throws REQUEST_TOO_MANY_VERSIONS. */
function groupRows (chosen: readonly LeasedVersion[]): RowsOfVersion[] {
  const groups = new Map<string, RowsOfVersion>()
  for (const [row, resolved] of chosen.entries()) {
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
