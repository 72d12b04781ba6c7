/** One picture turned into another under several banks, and how far their answers lie apart. */
import { decodedBytes, decodeRaster, readPictureHeader, type PictureHeader } from '../../imaging/decode.js'
import { contactSheet, sheetSize } from '../../imaging/contact-sheet.js'
import { canvasFor, encodeRaster, requireFits } from '../../imaging/encode.js'
import { imagingErrors } from '../../imaging/errors.js'
import { pictureDifference, type PictureDifference } from '../../imaging/picture-difference.js'
import { tileCount } from '../../imaging/tiles.js'
import { rulesOf, type ColourRules } from '../../models/preprocessing.js'
import { bankToRun } from '../banks-to-run.js'
import { nameOfChosen, type ChosenVersion } from '../blends.js'
import { leaseKey } from '../leases.js'
import { turnOf } from '../lone-row.js'
import { bankName, banksToCompare, fitUnder, holdingAll, underBank } from './compared-banks.js'
import { countPicture } from './count-picture.js'
import { runTiles, type TileTimes } from './run-tiles.js'
import type { Sliced, SlicedWork } from '../../base/slices.js'
import type { Raster } from '../../imaging/raster.js'
import type { ImageToImageManifest } from '../../models/manifest.js'
import type { ReadyModel } from '../model-states.js'
import type { CompareRequest } from './compare-classes.js'
import { timesTogether, type InferenceResult } from './inference.js'
import { middleOf, type TransformNeeds } from './transform.js'
import type { DomainFit, Recognition } from '../recognising/recognition.js'

/** Of what all canvases hold: they themselves, their sheet, and its PNG, which is hardly larger than its pixels. */
const SHEET_FACTOR = 3

/** What comparing pictures needs. */
export interface ComparePicturesNeeds extends Omit<TransformNeeds, 'progress'> {
  recognition: TransformNeeds['recognition'] & Pick<Recognition, 'gaugeFor'>
  /** What is long goes on in slices of this. */
  slices: Pick<SlicedWork, 'run'>
}

export interface ComparedPair extends PictureDifference {
  /** `domain:version` of the two. */
  banks: [one: string, other: string]
}

export interface ComparedPictures extends TileTimes {
  /** With a fit where the domain has a signature. */
  banks: Array<Pick<InferenceResult, 'domain' | 'version'> & Partial<DomainFit>>
  answeredBy: ReadonlyArray<Pick<InferenceResult, 'domain' | 'version' | 'countedAs'>>
  /** Of each bank with each other; absent where a sheet was asked for. */
  differences?: ComparedPair[]
  /** PNG: the answers from left to right, in the order of the banks. */
  sheet?: Buffer
  tiles: number
  decodeMs: number
  /** When the picture had been decoded, by performance.now(). */
  decodedAt: number
  encodeMs: number
}

/**
 * A picture with alpha is laid over black. Banks are asked one after another, each in the turn of its domain, so that a
 * comparison takes no more of the server at a time than one picture. Rejects with what `banksToCompare` throws,
 * VERSION_LEAVING, IMAGE_TOO_LARGE when the pictures of all banks have more pixels than a picture may, and what
 * `transform` rejects with.
 */
export async function comparePictures (
  needs: ComparePicturesNeeds, model: ReadyModel, manifest: ImageToImageManifest,
  { references, image, signal }: CompareRequest, isSheet: boolean
): Promise<ComparedPictures> {
  const chosen = banksToCompare(needs.store, manifest, references)
  return await holdingAll(needs.leases, manifest.name, chosen, async () => {
    const header = await readPictureHeader(image, needs.imagePixels)
    const rules = chosen.map(({ record, version }) => rulesOf(manifest, record.domain, version.preprocessing))
    const gauge = await needs.recognition.gaugeFor(model)
    // The last one is what the stem looks at.
    const colours = [...rules, ...gauge === undefined ? [] : [manifest.input]]
    const bytes = bytesOf(needs, manifest, header, { banks: rules.length, colours, isSheet })
    return await needs.room.hold(bytes, async () => {
      const begin = performance.now()
      const sources = await decodeOnce(image, header, colours, needs.imagePixels)
      const decodedAt = performance.now()
      const canvases: Raster[] = []
      const times: TileTimes[] = []
      for (const { record } of chosen) needs.pool.requireRoom(turnOf(manifest.name, record.domain), 1)
      const fits = await gauge?.fits(middleOf(sources.at(-1)!, manifest), signal)
      await needs.pool.keepOpen(async () => {
        for (const [at, resolved] of chosen.entries()) {
          const [source, colour] = [sources[at]!, rules[at]!]
          const canvas = canvasFor(source, manifest.output.scale)
          times.push(await runUnder(needs, model, { manifest, resolved, source, canvas, colour, signal }))
          canvases.push(canvas)
        }
      })
      const computed = performance.now()
      const answer = isSheet
        ? { sheet: await encodeRaster(await needs.slices.run(contactSheet(canvases), signal), 'png', 100) }
        : { differences: await needs.slices.run(differencesOf(chosen, canvases), signal) }
      const answeredBy = chosen.map((one) => {
        const { record, version: { version } } = one
        return { domain: nameOfChosen(one), version, countedAs: leaseKey(manifest.name, record.domain, version) }
      })
      return {
        banks: answeredBy.map(({ domain, version }, at) => ({ domain, version, ...fitUnder(chosen[at]!, fits) })),
        answeredBy,
        ...answer,
        tiles: chosen.length * tileCount(header.width, header.height, manifest.tiling),
        decodeMs: decodedAt - begin,
        decodedAt,
        ...timesTogether(times),
        encodeMs: performance.now() - computed
      }
    })
  })
}

/** What all of it holds at once. Throws IMAGE_TOO_LARGE. */
function bytesOf (
  { imagePixels }: ComparePicturesNeeds, { output: { scale } }: ImageToImageManifest,
  header: PictureHeader,
  { banks, colours, isSheet }: { banks: number, colours: readonly ColourRules[], isSheet: boolean }
): number {
  const { width, height } = header
  const canvas = { width: scale * width, height: scale * height }
  const sheet = isSheet ? sheetSize(banks, canvas) : { ...canvas, width: banks * canvas.width }
  if (isSheet) requireFits('png', sheet)
  if (sheet.width * sheet.height > imagePixels) {
    throw imagingErrors.IMAGE_TOO_LARGE('the pictures of all banks together have too many pixels', {
      expected: `at most ${imagePixels} pixels`, received: `${sheet.width} x ${sheet.height}`
    })
  }
  const channels = colours.map((colour) => isGreyUnder(header, colour) ? 1 : 3)
  const sources = width * height * [...new Set(channels)].reduce((sum, one) => sum + one, 0)
  const canvases = sheet.width * sheet.height * Math.max(...channels)
  return sources + Math.max(decodedBytes(header), (isSheet ? SHEET_FACTOR : 1) * canvases)
}

function isGreyUnder (header: PictureHeader, { colour }: ColourRules): boolean {
  return header.isGrey || colour === 'grey'
}

/** The picture as each bank takes it: in colour, in grey, or both, once each. */
async function decodeOnce (
  image: Uint8Array, header: PictureHeader, rules: readonly ColourRules[], pixelsMax: number
): Promise<Raster[]> {
  const decoded = new Map<boolean, Raster>()
  for (const colour of rules) {
    const isGrey = isGreyUnder(header, colour)
    if (decoded.has(isGrey)) continue
    decoded.set(isGrey, await decodeRaster(image, { pixelsMax, isGrey, isAlphaKept: false }))
  }
  return rules.map((colour) => decoded.get(isGreyUnder(header, colour))!)
}

interface RunUnder {
  manifest: ImageToImageManifest
  resolved: ChosenVersion
  source: Raster
  canvas: Raster
  colour: ColourRules
  signal: AbortSignal | undefined
}

/** All tiles under one bank, counted like a picture of its own. */
async function runUnder (
  needs: ComparePicturesNeeds, model: ReadyModel, { manifest, resolved, source, ...run }: RunUnder
): Promise<TileTimes> {
  const { domain } = resolved.record
  const progress = { tilesDone: 0, tilesTotal: tileCount(source.width, source.height, manifest.tiling) }
  return await countPicture(needs, model, resolved, progress, () => underBank(resolved, async () => {
    const bank = await bankToRun(needs, model, resolved)
    return await runTiles({ needs, model, manifest, source, ...run, progress, domain, bank })
  }))
}

function * differencesOf (chosen: readonly ChosenVersion[], canvases: readonly Raster[]): Sliced<ComparedPair[]> {
  const pairs: ComparedPair[] = []
  for (const [at, one] of chosen.entries()) {
    for (let other = at + 1; other < chosen.length; other++) {
      const difference = yield * pictureDifference(canvases[at]!, canvases[other]!)
      pairs.push({ banks: [bankName(one), bankName(chosen[other]!)], ...difference })
    }
  }
  return pairs
}
