/**
 * manifest.json: what the service must know about a model besides its graph. A picture becomes the input tensor by
 *
 *   decode -> resize to `size` -> value / 255 -> (value - mean) / std -> `layout`
 *
 * and a domain may override any of these (a low-resolution domain is fed smaller pictures).
 */
import { readFile } from 'node:fs/promises'
import { Ajv } from 'ajv'
import { Type, type Static } from 'typebox'
import { NAME_PATTERN } from '../base/names.js'
import { modelErrors } from './errors.js'

const strict = { additionalProperties: false }

const FileName = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$', description: 'a file beside the manifest' })
const PerChannel = Type.Array(Type.Number(), { minItems: 1, maxItems: 4 })
const Side = Type.Integer({ minimum: 1, maximum: 4096 })

const preprocessing = {
  size: Type.Object({ height: Side, width: Side }, strict),
  colour: Type.Union([Type.Literal('rgb'), Type.Literal('bgr'), Type.Literal('grey')]),
  layout: Type.Union([Type.Literal('NCHW'), Type.Literal('NHWC')]),
  mean: PerChannel,
  std: Type.Array(Type.Number({ exclusiveMinimum: 0 }), { minItems: 1, maxItems: 4 }),
  resize: Type.Object({
    fit: Type.Union([Type.Literal('fill'), Type.Literal('cover'), Type.Literal('contain')], {
      description: 'fill ignores the aspect ratio, cover crops the middle, contain pads with the mean'
    }),
    kernel: Type.Union([
      Type.Literal('area'), Type.Literal('bilinear'), Type.Literal('cubic'), Type.Literal('lanczos3')
    ])
  }, strict)
}

const PreprocessingSchema = Type.Object(preprocessing, strict)

export const ManifestSchema = Type.Object({
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
  task: Type.Literal('classification'),
  input: Type.Object({ name: Type.String({ minLength: 1 }), ...preprocessing }, strict),
  output: Type.Object({
    name: Type.String({ minLength: 1 }),
    activation: Type.Union([Type.Literal('softmax'), Type.Literal('sigmoid'), Type.Literal('none')], {
      description: 'what turns the output into scores'
    })
  }, strict),
  labels: FileName,
  defaultDomain: Type.String({ pattern: NAME_PATTERN }),
  domains: Type.Optional(Type.Record(
    Type.String({ pattern: NAME_PATTERN }),
    Type.Object({
      description: Type.Optional(Type.String({ maxLength: 2000 })),
      input: Type.Optional(Type.Partial(PreprocessingSchema, strict))
    }, strict),
    strict
  ))
}, strict)

export type Manifest = Static<typeof ManifestSchema>
export type Preprocessing = Static<typeof PreprocessingSchema>

const ajv = new Ajv({ allErrors: true })
const validate = ajv.compile<Manifest>(ManifestSchema)

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
  if (!validate(parsed)) {
    throw refused(validate.errors!.map(({ instancePath, message, params }) => {
      return `${instancePath === '' ? 'it' : instancePath} ${message} ${JSON.stringify(params)}`
    }))
  }
  const faults = relationFaults(parsed, folderName)
  if (faults.length > 0) throw refused(faults)
  return parsed
}

/** What a schema cannot say: relations between fields. */
function relationFaults (manifest: Manifest, folderName: string): string[] {
  const faults: string[] = []
  if (manifest.name !== folderName) faults.push(`/name must be the folder's name "${folderName}"`)
  const variants: Array<[string, Partial<Preprocessing>]> = [['/input', manifest.input]]
  for (const [domain, { input = {} }] of Object.entries(manifest.domains ?? {})) {
    variants.push([`/domains/${domain}`, input])
  }
  for (const [where, input] of variants) {
    const { colour, mean, std } = { ...manifest.input, ...input }
    const channels = colour === 'grey' ? 1 : 3
    if (mean.length !== channels) faults.push(`${where} mean must have ${channels} values for ${colour}`)
    if (std.length !== channels) faults.push(`${where} std must have ${channels} values for ${colour}`)
  }
  return faults
}

/** How pictures of a domain are prepared: the model's rules with the domain's overrides. */
export function preprocessingOf (manifest: Manifest, domain: string): Preprocessing {
  const { name: _name, ...rules } = manifest.input
  return { ...rules, ...entryOf(manifest, domain)?.input } as Preprocessing
}

/** What the manifest says of a domain, if anything. */
export function entryOf (manifest: Manifest, domain: string): NonNullable<Manifest['domains']>[string] | undefined {
  const { domains = {} } = manifest
  return Object.hasOwn(domains, domain) ? domains[domain] : undefined
}

/** Dimensions of one picture as the model's input, batch axis 1, for each distinct size that domains use. */
export function inputShapes (manifest: Manifest): number[][] {
  const domains = [manifest.defaultDomain, ...Object.keys(manifest.domains ?? {})]
  const shapes = domains.map((domain) => inputShape(preprocessingOf(manifest, domain)))
  return [...new Map(shapes.map((shape) => [shape.join(), shape])).values()]
}

export function inputShape ({ size, colour, layout }: Preprocessing): number[] {
  const channels = colour === 'grey' ? 1 : 3
  return layout === 'NCHW' ? [1, channels, size.height, size.width] : [1, size.height, size.width, channels]
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
