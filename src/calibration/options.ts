/** What can be asked of a calibration; the HTTP fields and the command line derive from it. */
import { Type, type Static } from '#typebox'
import { checkOf } from '../base/json-schema.js'
import { calibrationErrors } from './errors.js'
import { PRIOR_KINDS } from './priors.js'

export const MODES = ['sequential', 'fixed', 'fvcore', 'torch', 'ema', 'signature'] as const
export type Mode = typeof MODES[number]

/** Fewer distinct images say nothing of a domain, and give away too much of themselves. */
export const IMAGES_MIN = 2

const oneOf = <T extends string>(values: readonly T[], description: string, fallback: T) => {
  return Type.Unsafe<T>({ type: 'string', enum: [...values], description, default: fallback })
}

export const optionsShape = {
  mode: oneOf(MODES, 'how layers see the images while statistics are taken', 'sequential'),
  signatureSize: Type.Optional(Type.String({
    pattern: '^[1-9]\\d{0,3}x[1-9]\\d{0,3}$',
    description: 'mode signature: width x height in which pictures are looked at; the size of the domain\'s own'
  })),
  base: Type.Optional(Type.String({
    maxLength: 200,
    description: 'domain, or domain:version, that gives gamma, beta and what is not adapted; the default domain, or ' +
      'in mode signature the domain itself'
  })),
  batchSize: Type.Integer({
    minimum: 1,
    maximum: 1024,
    default: 32,
    description: 'images per run; changes the result of fvcore, torch and ema only'
  }),
  momentum: Type.Union([Type.Number({ exclusiveMinimum: 0, maximum: 1 }), Type.Null()], {
    default: 0.1, description: 'of mode ema; null is the cumulative average'
  }),
  fresh: Type.Boolean({ default: false, description: 'mode ema begins at mean 0, variance 1, not at the base bank' }),
  batchesTracked: Type.Integer({
    minimum: 0, maximum: 2 ** 31, default: 0, description: 'num_batches_tracked that mode ema begins with'
  }),
  priorImages: Type.Number({
    minimum: 0, maximum: 1e9, default: 0, description: 'how many images the base bank counts as'
  }),
  priorKind: oneOf(PRIOR_KINDS, 'how base and fresh statistics are mixed', 'mixture'),
  layers: Type.Array(Type.String({ minLength: 1, maxLength: 500 }), {
    maxItems: 10_000, default: [], description: 'layers to adapt, by key or prefix ending in *; all when empty'
  }),
  tolerance: Type.Number({
    exclusiveMinimum: 0,
    maximum: 10,
    default: 0.1,
    description: 'a layer is settled when its standard errors are below this share of the spread'
  }),
  stopEarly: Type.Boolean({
    default: false, description: 'stop at 64, 128, 256, … images once every layer is settled'
  }),
  minimumImages: Type.Integer({
    minimum: IMAGES_MIN, maximum: 1_000_000, default: 8, description: 'fewer distinct images are refused'
  }),
  strict: Type.Boolean({ default: false, description: 'one unreadable image ends the job' }),
  activate: Type.Boolean({ default: true, description: 'serve the new version at once' }),
  description: Type.Optional(Type.String({ maxLength: 2000, description: 'of the domain' }))
}

export const OptionsSchema = Type.Object(optionsShape, { additionalProperties: false })

export type CalibrationOptions = Static<typeof OptionsSchema>

const validate = checkOf<CalibrationOptions>(OptionsSchema, { allErrors: true, useDefaults: true })

/** Throws CALIBRATION_OPTIONS_INVALID listing every fault. */
export function completeOptions (given: Readonly<Record<string, unknown>>): CalibrationOptions {
  const options: unknown = structuredClone(given)
  if (validate(options)) return options
  const faults = validate.errors.map(({ instancePath, message, params }) => {
    return `${instancePath === '' ? 'options' : instancePath.slice(1)} ${message} ${JSON.stringify(params)}`
  })
  throw calibrationErrors.CALIBRATION_OPTIONS_INVALID(`the options are refused: ${faults.join('; ')}`, { faults })
}

/**
 * Options as text, from form fields: numbers and booleans are read, `layers` is a list with commas, `null` is null.
 * Throws CALIBRATION_OPTIONS_INVALID.
 */
export function parseOptions (fields: Readonly<Record<string, string>>): CalibrationOptions {
  // Not by assignment, which a field "__proto__" would escape.
  const given = Object.entries(fields).map(([name, text]): [string, unknown] => [name, readOption(name, text)])
  return completeOptions(Object.fromEntries(given))
}

function readOption (name: string, text: string): unknown {
  const shape = optionsShape as unknown as Readonly<Record<string, { type?: string }>>
  const type = Object.hasOwn(shape, name) ? shape[name]!.type : undefined
  if (type === 'string') return text
  if (type === 'array') return text.split(',').map((part) => part.trim()).filter((part) => part !== '')
  if (text === 'true' || text === 'false') return text === 'true'
  if (text === 'null') return null
  return /^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : text
}

/** The layers that patterns name. Throws CALIBRATION_LAYER_UNKNOWN for a pattern that names none. */
export function selectLayers (keys: readonly string[], patterns: readonly string[]): Set<string> {
  if (patterns.length === 0) return new Set(keys)
  const selected = new Set<string>()
  for (const pattern of patterns) {
    const named = keys.filter((key) => pattern.endsWith('*') ? key.startsWith(pattern.slice(0, -1)) : key === pattern)
    if (named.length === 0) {
      throw calibrationErrors.CALIBRATION_LAYER_UNKNOWN(`the model has no layer "${pattern.slice(0, 200)}"`, {
        expected: keys.slice(0, 20), received: pattern.slice(0, 200)
      })
    }
    for (const key of named) selected.add(key)
  }
  return selected
}
