/**
 * How a picture becomes the input tensor, as manifests and registrations say it:
 *
 *   decode -> resize to `size` (classification) -> value / 255 -> (value - mean) / std -> `layout`
 *
 * The rules of a request are the model's, overlaid by the domain's in the manifest, overlaid by those registered with
 * the version that answers.
 */
import { Type, type Static } from '#typebox'
import { checkOf } from '../base/json-schema.js'
import { modelErrors } from './errors.js'

const strict = { additionalProperties: false }

const Side = Type.Integer({ minimum: 1, maximum: 4096 })

const colourRules = {
  colour: Type.Union([Type.Literal('rgb'), Type.Literal('bgr'), Type.Literal('grey')]),
  layout: Type.Union([Type.Literal('NCHW'), Type.Literal('NHWC')]),
  mean: Type.Array(Type.Number(), { minItems: 1, maxItems: 4 }),
  std: Type.Array(Type.Number({ exclusiveMinimum: 0 }), { minItems: 1, maxItems: 4 })
}

const sizeRules = {
  size: Type.Object({ height: Side, width: Side }, strict),
  resize: Type.Object({
    fit: Type.Union([Type.Literal('fill'), Type.Literal('cover'), Type.Literal('contain')], {
      description: 'fill ignores the aspect ratio, cover crops the middle, contain pads with the mean'
    }),
    kernel: Type.Union([
      Type.Literal('area'), Type.Literal('bilinear'), Type.Literal('cubic'), Type.Literal('lanczos3')
    ])
  }, strict)
}

/** Of models that keep the picture's size. */
export const ColourRulesSchema = Type.Object(colourRules, strict)
/** Of models that see every picture in a fixed size. */
export const PreprocessingSchema = Type.Object({ ...colourRules, ...sizeRules }, strict)

export type ColourRules = Static<typeof ColourRulesSchema>
export type Preprocessing = Static<typeof PreprocessingSchema>
export type PreprocessingOverrides = Partial<Preprocessing>

const validateOf = {
  classification: checkOf(Type.Partial(PreprocessingSchema, strict), { allErrors: true }),
  'image-to-image': checkOf(Type.Partial(ColourRulesSchema, strict), { allErrors: true })
}

export function channelsOf ({ colour }: Pick<ColourRules, 'colour'>): 1 | 3 {
  return colour === 'grey' ? 1 : 3
}

/** What a schema cannot say: mean and std belong to the channels of the colour. */
export function channelFaults (where: string, { colour, mean, std }: ColourRules): string[] {
  const channels = channelsOf({ colour })
  return Object.entries({ mean, std }).flatMap(([name, { length }]) => {
    return length === channels ? [] : [`${where} ${name} must have ${channels} values for ${colour}`]
  })
}

/** What of a manifest tells how pictures are prepared. */
export interface PicturesOf {
  task: 'classification' | 'image-to-image'
  input: ColourRules
  domains?: Readonly<Record<string, { description?: string, input?: PreprocessingOverrides }>>
}

/**
 * The preprocessing that a client registers with a bank, checked against the model's task and other rules.
 * Throws PREPROCESSING_INVALID listing every fault.
 */
export function parsePreprocessing (
  manifest: PicturesOf | { task: 'tensors' }, domain: string, given: unknown
): PreprocessingOverrides {
  if (manifest.task === 'tensors') {
    throw modelErrors.PREPROCESSING_INVALID('the model takes tensors, which nothing is done to', {
      expected: 'no preprocessing', received: manifest.task
    })
  }
  const validate = validateOf[manifest.task]
  const faults = validate(given)
    ? channelFaults('/preprocessing', rulesOf(manifest, domain, given as PreprocessingOverrides))
    : validate.errors.map(({ instancePath, message, params }) => {
      return `/preprocessing${instancePath} ${message} ${JSON.stringify(params)}`
    })
  if (faults.length === 0) return given as PreprocessingOverrides
  throw modelErrors.PREPROCESSING_INVALID(`the preprocessing is refused: ${faults.join('; ')}`, {
    expected: fieldsOf(manifest), faults
  })
}

function fieldsOf ({ task }: PicturesOf): string[] {
  return Object.keys((task === 'classification' ? PreprocessingSchema : ColourRulesSchema).properties)
}

type RulesOf<Given extends PicturesOf> = Given extends { task: 'classification' } ? Preprocessing : ColourRules

/** How pictures of a domain are prepared; `registered` comes with the version that answers. */
export function rulesOf<Given extends PicturesOf> (
  manifest: Given, domain: string, registered: PreprocessingOverrides = {}
): RulesOf<Given> {
  const { name: _name, ...rules } = manifest.input as ColourRules & { name?: string }
  return { ...rules, ...entryOf(manifest, domain)?.input, ...registered } as unknown as RulesOf<Given>
}

/** What the manifest says of a domain, if anything. */
export function entryOf (
  { domains = {} }: Pick<PicturesOf, 'domains'>, domain: string
): { description?: string, input?: PreprocessingOverrides } | undefined {
  return Object.hasOwn(domains, domain) ? domains[domain] : undefined
}

/** Dimensions of one picture as the model's input, batch axis 1. */
export function inputShape (
  { size, colour, layout }: ColourRules & { size: { height: number, width: number } }
): number[] {
  const channels = channelsOf({ colour })
  return layout === 'NCHW' ? [1, channels, size.height, size.width] : [1, size.height, size.width, channels]
}
