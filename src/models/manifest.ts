/**
 * manifest.json: what the service must know about a model besides its graph. `task` says which of the forms it has:
 *
 *   classification    pictures of a fixed size -> scores of labels
 *   image-to-image    pictures of any size, whole or in overlapping tiles -> pictures of `scale` times the size
 *   tensors           detectors, segmenters and all others: the tensors of the graph, whatever they mean
 */
import { readFile } from 'node:fs/promises'
import { Type, type Static, type TObject } from '#typebox'
import { checkOf } from '../base/json-schema.js'
import { NAME_PATTERN } from '../base/names.js'
import { modelErrors } from './errors.js'
import {
  channelFaults, ColourRulesSchema, inputShape, PreprocessingSchema, rulesOf, type ColourRules,
  type PreprocessingOverrides
} from './preprocessing.js'

const strict = { additionalProperties: false }

const FileName = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$', description: 'a file beside the manifest' })
const ValueName = Type.String({ minLength: 1 })

const common = {
  format: Type.Literal(1),
  name: Type.String({ pattern: NAME_PATTERN }),
  title: Type.String({ maxLength: 200 }),
  description: Type.Optional(Type.String({ maxLength: 4000 })),
  licence: Type.Optional(Type.String({ maxLength: 200 })),
  graph: FileName,
  batchNorms: Type.Optional(Type.Union([
    Type.Object({ from: Type.Literal('graph') }, strict),
    Type.Object({ from: Type.Literal('reference-state'), state: FileName }, strict),
    Type.Object({ from: Type.Literal('inserted') }, strict)
  ], {
    description: 'graph (the default): they stand in the ONNX file; reference-state: they were folded away at ' +
      'export, and this state_dict undoes that; inserted: an identity behind every convolution'
  })),
  defaultDomain: Type.String({ pattern: NAME_PATTERN })
}

const domainFrom = Type.Optional(Type.Literal('auto', {
  description: 'requests that name no domain get the one that the picture looks like'
}))

function domainsWith<Rules extends TObject> (rules: Rules) {
  const entry = Type.Object({
    description: Type.Optional(Type.String({ maxLength: 2000 })),
    input: Type.Optional(Type.Partial(rules, strict))
  }, strict)
  return Type.Optional(Type.Record(Type.String({ pattern: NAME_PATTERN }), entry, strict))
}

export const ClassificationSchema = Type.Object({
  ...common,
  task: Type.Literal('classification'),
  input: Type.Object({ name: ValueName, ...PreprocessingSchema.properties }, strict),
  output: Type.Object({
    name: ValueName,
    activation: Type.Union([Type.Literal('softmax'), Type.Literal('sigmoid'), Type.Literal('none')], {
      description: 'what turns the output into scores'
    })
  }, strict),
  labels: FileName,
  domainFrom: Type.Optional(Type.Union([Type.Literal('inputSize'), Type.Literal('auto')], {
    description: 'requests that name no domain get the one whose size is nearest to the picture, or the one that ' +
      'it looks like'
  })),
  domains: domainsWith(PreprocessingSchema)
}, strict)

const SCALE_MAX = 8

export const ImageToImageSchema = Type.Object({
  ...common,
  task: Type.Literal('image-to-image'),
  input: Type.Object({ name: ValueName, ...ColourRulesSchema.properties }, strict),
  output: Type.Object({
    name: ValueName,
    scale: Type.Integer({ minimum: 1, maximum: SCALE_MAX, description: 'size of the output over that of the input' }),
    black: Type.Number({ description: 'the value of a pixel 0' }),
    white: Type.Number({ description: 'the value of a pixel 255' })
  }, strict),
  tiling: Type.Object({
    tile: Type.Integer({ minimum: 1, maximum: 4096, description: 'side of the largest input that runs at once' }),
    overlap: Type.Integer({
      minimum: 0, maximum: 2048, description: 'how far an output pixel sees: the radius of the receptive field'
    }),
    multipleOf: Type.Integer({
      minimum: 1, maximum: 1024, description: 'sides that the graph takes; others are padded with their edge'
    })
  }, strict),
  domainFrom,
  domains: domainsWith(ColourRulesSchema)
}, strict)

const AXES_MAX = 8
const SIDE_MAX = 65_536

export const TensorsSchema = Type.Object({
  ...common,
  task: Type.Literal('tensors'),
  inputs: Type.Record(ValueName, Type.Object({
    shape: Type.Array(Type.Integer({ minimum: 1, maximum: SIDE_MAX }), {
      minItems: 1, maxItems: AXES_MAX, description: 'of one row, its batch axis 1: what the model is proven with'
    })
  }, strict), { minProperties: 1, description: 'every input of the graph' }),
  domainFrom,
  domains: Type.Optional(Type.Record(Type.String({ pattern: NAME_PATTERN }), Type.Object({
    description: Type.Optional(Type.String({ maxLength: 2000 }))
  }, strict), strict))
}, strict)

export type ClassificationManifest = Static<typeof ClassificationSchema>
export type ImageToImageManifest = Static<typeof ImageToImageSchema>
export type TensorsManifest = Static<typeof TensorsSchema>
/** Of models that `predict` knows what to do with. */
export type PictureManifest = ClassificationManifest | ImageToImageManifest
export type Manifest = PictureManifest | TensorsManifest

/** Tasks whose models take pictures. */
export const PICTURE_TASKS = ['classification', 'image-to-image'] as const

export function takesPictures (manifest: Manifest): manifest is PictureManifest {
  return manifest.task !== 'tensors'
}

const allErrors = true
const validateTask = checkOf<{ task: Manifest['task'] }>(Type.Object({
  task: Type.Unsafe<Manifest['task']>({ enum: [...PICTURE_TASKS, 'tensors'] })
}), { allErrors })
const validateOf = {
  classification: checkOf(ClassificationSchema, { allErrors }),
  'image-to-image': checkOf(ImageToImageSchema, { allErrors }),
  tensors: checkOf(TensorsSchema, { allErrors })
}

/** Throws MANIFEST_INVALID listing every fault. */
export function parseManifest (text: string, folderName: string): Manifest {
  const refused = (faults: string[], cause?: unknown) => {
    const list = faults.join('; ')
    return modelErrors.MANIFEST_INVALID(`the manifest of "${folderName}" is refused: ${list}`, { faults }, cause)
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (cause) {
    throw refused([`it is not JSON: ${(cause as Error).message}`], cause)
  }
  const { errors } = validateTask(parsed) ? { errors: formFaults(parsed) } : validateTask
  if (errors.length > 0) {
    throw refused(errors.map(({ instancePath, message, params }) => {
      return `${instancePath === '' ? 'it' : instancePath} ${message} ${JSON.stringify(params)}`
    }))
  }
  const manifest = parsed as Manifest
  const faults = relationFaults(manifest, folderName)
  if (faults.length > 0) throw refused(faults)
  return manifest
}

function formFaults (parsed: { task: Manifest['task'] }) {
  const validate = validateOf[parsed.task]
  return validate(parsed) ? [] : validate.errors
}

/** What a schema cannot say: relations between fields. */
function relationFaults (manifest: Manifest, folderName: string): string[] {
  const faults: string[] = []
  if (manifest.name !== folderName) faults.push(`/name must be the folder's name "${folderName}"`)
  if (!takesPictures(manifest)) return faults
  faults.push(...channelFaults('/input', manifest.input))
  for (const domain of Object.keys(manifest.domains ?? {})) {
    faults.push(...channelFaults(`/domains/${domain}`, rulesOf(manifest, domain)))
  }
  return manifest.task === 'image-to-image' ? [...faults, ...tilingFaults(manifest)] : faults
}

function tilingFaults ({ output: { black, white }, tiling }: ImageToImageManifest): string[] {
  const { tile, overlap, multipleOf } = tiling
  const faults: string[] = []
  if (white <= black) faults.push(`/output white must be above black, ${black}`)
  if (tile % multipleOf !== 0) faults.push(`/tiling tile must be a multiple of ${multipleOf}`)
  if (tile - 2 * overlap < multipleOf) {
    faults.push(`/tiling tile must be at least ${2 * overlap + multipleOf}, twice the overlap and one step`)
  }
  return faults
}

/**
 * Dimensions of one picture as the model's input, batch axis 1, in the sizes to compile and prove with, the usual one
 * first: each distinct size that domains use; for a task that takes any size, a square and a small oblong stand for
 * all.
 */
export function inputShapes (manifest: PictureManifest): number[][] {
  const shapes = manifest.task === 'classification'
    ? [manifest.defaultDomain, ...Object.keys(manifest.domains ?? {})].map((domain) => usualShape(manifest, domain))
    : sampleShapes(manifest)
  return [...new Map(shapes.map((shape) => [shape.join(), shape])).values()]
}

/** The shapes that requests will mostly have: to have everything allocated for. */
export function usualShapes (manifest: PictureManifest): number[][] {
  return manifest.task === 'classification' ? inputShapes(manifest) : [usualShape(manifest, manifest.defaultDomain)]
}

/**
 * The shape that requests for a domain will mostly have, of the first input where there are several; `registered` comes
 * with the version that answers.
 */
export function usualShape (manifest: Manifest, domain: string, registered?: PreprocessingOverrides): number[] {
  if (!takesPictures(manifest)) return Object.values(manifest.inputs)[0]!.shape
  if (manifest.task === 'classification') return inputShape(rulesOf(manifest, domain, registered))
  const { tile } = manifest.tiling
  return inputShape({ ...rulesOf(manifest, domain, registered), size: { height: tile, width: tile } })
}

/** By input: one row in each of the sizes to compile and prove with, or that requests will mostly have. */
export function rowShapes (manifest: Manifest, kind: 'proven' | 'usual'): Array<Record<string, number[]>> {
  if (!takesPictures(manifest)) {
    return [Object.fromEntries(Object.entries(manifest.inputs).map(([name, { shape }]) => [name, shape]))]
  }
  const shapes = kind === 'proven' ? inputShapes(manifest) : usualShapes(manifest)
  return shapes.map((shape) => ({ [manifest.input.name]: shape }))
}

/** A proof costs several runs on one thread; a larger square would show no more. */
const SQUARE_SIDE = 64

function sampleShapes (manifest: ImageToImageManifest): number[][] {
  const { tiling: { tile, overlap, multipleOf } } = manifest
  const rules: ColourRules = rulesOf(manifest, manifest.defaultDomain)
  const short = multipleOf * Math.ceil((overlap + 1) / multipleOf)
  const oblong = { height: Math.min(short, tile), width: Math.min(short + multipleOf, tile) }
  const side = Math.min(tile, Math.max(short, multipleOf * Math.ceil(SQUARE_SIDE / multipleOf)))
  return [{ height: side, width: side }, oblong].map((size) => inputShape({ ...rules, size }))
}

const LABELS_MAX = 1_000_000

/** labels.json: an array of strings, index = class. Throws MANIFEST_INVALID. */
export async function readLabels (path: string): Promise<string[]> {
  let labels: unknown
  try {
    labels = JSON.parse(await readFile(path, 'utf8'))
  } catch (cause) {
    throw modelErrors.MANIFEST_INVALID(`the labels cannot be read: ${(cause as Error).message}`, {}, cause)
  }
  if (!Array.isArray(labels) || labels.length > LABELS_MAX || labels.some((label) => typeof label !== 'string')) {
    throw modelErrors.MANIFEST_INVALID('the labels must be an array of strings', { expected: 'an array of strings' })
  }
  return labels as string[]
}
