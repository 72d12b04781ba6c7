/** One picture classified under several banks at once, and how far they agree. */
import { readPictureHeader } from '../../imaging/decode.js'
import { preprocessImages } from '../../imaging/preprocess.js'
import { entropyOf, topPredictions, type Prediction } from '../../models/classification.js'
import { rulesOf } from '../../models/preprocessing.js'
import { checkFeeds } from '../feeds.js'
import { bankName, banksToCompare, fitUnder, holdingAll, underBank } from './compared-banks.js'
import { inferGroups, timesTogether, type Group, type InferenceResult, type Run } from './inference.js'
import type { ImageTensor } from '../../imaging/raster.js'
import type { ClassificationManifest } from '../../models/manifest.js'
import type { Tensors } from '../../ort/rows.js'
import type { ChosenVersion } from '../blends.js'
import type { ReadyModel } from '../model-states.js'
import type { DomainFit, Recognition } from '../recognising/recognition.js'
import type { PictureNeeds, PictureRequest } from './classify.js'

/** What comparing classes needs. */
export interface CompareClassesNeeds extends PictureNeeds {
  recognition: PictureNeeds['recognition'] & Pick<Recognition, 'gaugeFor'>
}

export interface CompareRequest extends Omit<PictureRequest, 'wish'> {
  /** As X-Domain has them; all active ones if not given. */
  references?: readonly string[] | undefined
}

/** With a fit where the domain has a signature. */
export interface ComparedBank extends Pick<InferenceResult, 'domain' | 'version'>, Partial<DomainFit> {
  predictions: Prediction[]
  /** In nats; absent where scores are no probabilities. */
  entropy?: number
}

/** The best class of most banks; of classes that as many have, the first by index. */
export interface Agreement {
  index: number
  label: string
  /** Of the banks, those that have it, in (0, 1]. */
  share: number
  /** `domain:version` of those. */
  banks: string[]
}

export interface ComparedClasses {
  banks: ComparedBank[]
  agreement: Agreement
  answeredBy: ReadonlyArray<Pick<InferenceResult, 'domain' | 'version' | 'countedAs'>>
  decodeMs: number
  /** When the picture had been decoded, by performance.now(). */
  decodedAt: number
  queueMs: number
  inferMs: number
  runs: readonly Run[]
}

/**
 * The picture is decoded once and prepared by the rules of each bank; the stem looks at it once, and then all rows are
 * let in together or none. Rejects with what `banksToCompare` throws, VERSION_LEAVING, IMAGE_UNREADABLE,
 * IMAGE_TOO_LARGE, PICTURE_TOO_LARGE, QUEUE_FULL, OUTPUT_NOT_FINITE naming the bank, and what inference.ts throws.
 */
export async function compareClasses (
  needs: CompareClassesNeeds, model: ReadyModel, manifest: ClassificationManifest, request: CompareRequest, top: number
): Promise<ComparedClasses> {
  const chosen = banksToCompare(needs.store, manifest, request.references)
  return await holdingAll(needs.leases, manifest.name, chosen, async () => {
    const { image, signal } = request
    const begin = performance.now()
    const rules = chosen.map(({ record, version }) => rulesOf(manifest, record.domain, version.preprocessing))
    const gauge = await needs.recognition.gaugeFor(model, await readPictureHeader(image, needs.imagePixels))
    // The last one is what the stem looks at.
    const allRules = [...rules, ...gauge === undefined ? [] : [gauge.rules!]]
    const tensors = await preprocessImages(image, allRules, needs.imagePixels, (bytes, work) => {
      return needs.room.decode(bytes, work, signal)
    })
    const decodedAt = performance.now()
    const decodeMs = decodedAt - begin
    const feedsOf = (tensor: ImageTensor): Tensors => ({ [manifest.input.name]: { type: 'float32', ...tensor } })
    const groups = chosen.map((resolved, at): Group => {
      const feeds = feedsOf(tensors[at]!)
      return { resolved, feeds, rows: checkFeeds(model.artefact.inputs, feeds) }
    })
    const bytes = tensors.reduce((sum, { data }) => sum + data.byteLength, 0)
    const { fits, results } = await needs.room.hold(bytes, async () => ({
      fits: await gauge?.fits(feedsOf(tensors.at(-1)!), signal),
      results: await inferGroups(needs, model, groups, {
        inputMs: decodeMs, ...(signal === undefined ? {} : { signal })
      })
    }))
    const banks = await Promise.all(results.map((result, at) => {
      const one = chosen[at]!
      return underBank(one, () => ({ ...comparedBank(model, manifest, result, top), ...fitUnder(one, fits) }))
    }))
    return {
      banks,
      agreement: agreementOf(banks, chosen),
      answeredBy: results,
      decodeMs,
      decodedAt,
      ...timesTogether(results)
    }
  })
}

/** Throws OUTPUT_NOT_FINITE. */
function comparedBank (
  { entry }: ReadyModel, { output: { name, activation } }: ClassificationManifest,
  { domain, version, outputs }: InferenceResult, top: number
): ComparedBank {
  const logits = outputs[name]!.data as ArrayLike<number>
  const predictions = topPredictions(logits, entry.labels, activation, top)
  const entropy = entropyOf(logits, activation)
  return { domain, version, predictions, ...(entropy === undefined ? {} : { entropy }) }
}

function agreementOf (banks: readonly ComparedBank[], chosen: readonly ChosenVersion[]): Agreement {
  const votes = new Map<number, { label: string, banks: string[] }>()
  for (const [at, { predictions: [best] }] of banks.entries()) {
    const vote = votes.get(best!.index) ?? { label: best!.label, banks: [] }
    vote.banks.push(bankName(chosen[at]!))
    votes.set(best!.index, vote)
  }
  const [[index, vote]] = [...votes].sort(([a, one], [b, other]) => other.banks.length - one.banks.length || a - b) as
    [[number, { label: string, banks: string[] }]]
  return { index, ...vote, share: vote.banks.length / banks.length }
}
