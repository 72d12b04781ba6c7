/** Shapes of our own requests and answers; the OpenAPI document is made of them. */
import { Type } from '#typebox'
import { LABEL_PATTERN, NAME_PATTERN } from '../base/names.js'

const strict = { additionalProperties: false }

export const NameParameter = Type.String({ pattern: NAME_PATTERN })

export const LabelParameter = Type.String({ pattern: LABEL_PATTERN })

/** `model` or `model@domain` or `model@domain:version`. */
export const ModelParameter = Type.String({ minLength: 1, maxLength: 200, description: 'model or model@domain' })

/** A version segment of the protocol, which may be any text. */
export const VersionText = Type.String({
  minLength: 1, maxLength: 64, description: 'A version number, a label, or active'
})

export const VersionParameter = Type.Integer({ minimum: 1, maximum: 999_999_999 })

const RAW_BODY = 'x-raw-body'

/** A body schema for the document only: the handler gets bytes. */
export function rawBody<Schema extends object> (schema: Schema): Schema {
  return { ...schema, [RAW_BODY]: true }
}

export function isRawBody (schema: unknown): boolean {
  return typeof schema === 'object' && schema !== null && RAW_BODY in schema
}

/** Bytes of any kind. */
export const BinaryBody = rawBody(Type.Unsafe<unknown>({ type: 'string', format: 'binary' }))

export const ErrorSchema = Type.Object({
  error: Type.String({ description: 'What is wrong, for a person' }),
  code: Type.String({ description: 'What is wrong, for a program' }),
  requestId: Type.String({ description: 'The request in the log' }),
  details: Type.Optional(Type.Record(Type.String(), Type.Unknown()))
}, { title: 'Error' })

export const InferenceHeaders = Type.Object({
  'x-domain': Type.Optional(Type.String({
    description: 'Domain, domain:version or domain:label; several with shares; auto for what the picture looks like',
    examples: ['lowlight', 'day=0.7,lowlight=0.3', 'auto']
  })),
  'x-stream': Type.Optional(Type.String({
    pattern: NAME_PATTERN,
    description: 'With auto most of its last pictures decide for the domain, and all together whether they fit any; ' +
      'drift is watched by stream'
  })),
  'x-timeout-ms': Type.Optional(Type.String({
    description: 'How long the request may wait, in ms; beyond, 504', examples: ['500']
  }))
})

export const CompareHeaders = Type.Pick(InferenceHeaders, ['x-timeout-ms'])

export const PredictHeaders = Type.Object({
  ...InferenceHeaders.properties,
  'x-progress-key': Type.Optional(Type.String({
    pattern: NAME_PATTERN, description: 'Makes the progress of a large picture readable at /v1/progress/{key}'
  }))
})

export const VersionSchema = Type.Object({
  version: Type.Integer(),
  digest: Type.String({ description: 'Content hash of the bank' }),
  fingerprint: Type.String({ description: 'The network that the bank belongs to' }),
  source: Type.String(),
  bytes: Type.Integer(),
  preprocessing: Type.Optional(Type.Record(Type.String(), Type.Unknown(), {
    description: 'How pictures for this version are prepared, where it differs from the model'
  })),
  createdAt: Type.String(),
  active: Type.Boolean()
}, { title: 'Version' })

export const CandidateSchema = Type.Object({
  version: VersionParameter,
  percent: Type.Number({ minimum: 0, maximum: 100, description: 'Share of the requests' })
}, { ...strict, title: 'Candidate' })

export const GateSchema = Type.Object({
  rows: Type.Integer(),
  bytes: Type.Integer(),
  absolute: Type.Number(),
  relative: Type.Number(),
  createdAt: Type.String()
}, { title: 'Gate' })

export const DomainSchema = Type.Object({
  domain: Type.String(),
  description: Type.Optional(Type.String()),
  active: Type.Union([Type.Integer(), Type.Null()]),
  revision: Type.Integer({ description: 'Grows with every change; the ETag' }),
  default: Type.Boolean(),
  labels: Type.Optional(Type.Record(Type.String(), Type.Integer(), { description: 'Label -> version' })),
  canary: Type.Optional(CandidateSchema),
  shadow: Type.Optional(CandidateSchema),
  gate: Type.Optional(GateSchema),
  versions: Type.Array(VersionSchema)
}, { title: 'Domain' })

export const ShadowSchema = Type.Object({
  version: Type.Integer(),
  active: Type.Integer({ description: 'The version that it is compared with' }),
  percent: Type.Number(),
  comparedRows: Type.Integer(),
  disagreeingRows: Type.Integer({ description: 'Rows with another best class' }),
  notFiniteRows: Type.Integer({ description: 'Rows where one of the two has no finite answer' }),
  droppedRows: Type.Integer({ description: 'Rows for which there was no room' }),
  failedRows: Type.Integer(),
  largestRelativeDifference: Type.Number({ description: 'Relative to the largest magnitude of the row' }),
  since: Type.String()
}, { title: 'Shadow' })

const count = (description: string) => Type.Optional(Type.Integer({ description }))
const time = (description: string) => Type.Optional(Type.String({ description }))

export const DriftSchema = Type.Object({
  model: Type.String(),
  domain: Type.String(),
  version: Type.Integer({ description: 'The active one' }),
  state: Type.Union([
    Type.Literal('noSignature'), Type.Literal('notEnoughSeen'), Type.Literal('steady'), Type.Literal('drifting')
  ]),
  requestsPerFalseAlarm: Type.Integer({ description: 'The dial' }),
  share: Type.Number({ description: 'Of pictures that are looked at' }),
  pictures: count('Looked at'),
  counted: count('Of those, the ones that are not the picture before them again, or too soon after it'),
  passedOver: count('To be looked at, but there was no room'),
  notFinite: count('With features that are no numbers'),
  unwatched: count('Of streams for which there was no room'),
  since: time('When watching began'),
  alarms: count('Of drift, since then'),
  lastAlarmAt: time('When the last alarm was'),
  driftingSince: time('When the pictures began that speak for drift'),
  streams: Type.Optional(Type.Object({ watched: Type.Integer(), drifting: Type.Integer() })),
  eValue: Type.Optional(Type.Number({
    description: 'Evidence of drift in all streams together: 1 or less on average while there is none; ' +
      'while there is, of the last alarm if that is larger'
  })),
  moved: Type.Optional(Type.Array(Type.Object({
    layer: Type.String(),
    channel: Type.Integer(),
    of: Type.Union([Type.Literal('mean'), Type.Literal('spread')]),
    shift: Type.Number({ description: 'Of the last pictures, in standard deviations of one picture' })
  }), { description: 'What the first layers see that moved most, farthest first' })),
  nearest: Type.Optional(Type.String({ description: 'The other domain that the last pictures look most like' }))
}, { title: 'Drift' })

export const ModelSchema = Type.Object({
  name: Type.String(),
  title: Type.String(),
  description: Type.Optional(Type.String()),
  licence: Type.Optional(Type.String()),
  task: Type.String(),
  state: Type.Union([Type.Literal('loading'), Type.Literal('ready'), Type.Literal('failed')]),
  defaultDomain: Type.String(),
  domains: Type.Array(Type.String()),
  input: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  output: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  inputs: Type.Optional(Type.Record(Type.String(), Type.Object({ shape: Type.Array(Type.Integer()) }), {
    description: 'Of a model for tensors: one row of each input'
  })),
  tiling: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  domainFrom: Type.Optional(Type.String({ description: 'How requests get a domain that name none' })),
  labels: Type.Optional(Type.Integer({ description: 'Number of classes' })),
  compiled: Type.Optional(Type.Object({
    fingerprint: Type.String(),
    batchNorms: Type.Integer(),
    layers: Type.Array(Type.Object({ key: Type.String(), channels: Type.Integer(), epsilon: Type.Number() })),
    bytesPerDomain: Type.Integer(),
    weightBytes: Type.Integer(),
    maxRelativeError: Type.Number(),
    runBytes: Type.Integer({ description: 'Memory of a run of one row, at the first size that it was compiled for' }),
    rowElementsMax: Type.Record(Type.String(), Type.Integer(), {
      description: 'By input: elements that one row may have at most, so that its run stays within the memory of one'
    })
  })),
  hot: Type.Optional(Type.Array(Type.Object({
    domain: Type.String(),
    version: Type.Integer(),
    digest: Type.String(),
    bytes: Type.Integer({ description: 'Weights and sessions; versions of one digest share them' })
  }), { description: 'Versions that get most of the traffic and run on a network of their own' }))
}, { title: 'Model' })

export const RegisteredSchema = Type.Object({
  model: Type.String(),
  domain: Type.String(),
  version: Type.Integer(),
  digest: Type.String(),
  active: Type.Boolean(),
  ignored: Type.Optional(Type.Array(Type.String(), { description: 'Tensors of the file that are no statistics' })),
  warnings: Type.Optional(Type.Array(Type.Object({ code: Type.String(), message: Type.String() })))
}, { title: 'Registered' })

const Prediction = Type.Object({ index: Type.Integer(), label: Type.String(), score: Type.Number() })

/** How many classes a picture is answered with. */
export const TOP_DEFAULT = 5

export const RecognisedSchema = Type.Object({
  fit: Type.Union([Type.Literal('good'), Type.Literal('none'), Type.Literal('size')], {
    description: 'none: no domain fits the picture, or the last ones of its stream together, and the default domain ' +
      'has answered; size: the size alone has chosen'
  }),
  nearest: Type.String({ description: 'The domain that this picture alone looks like' }),
  runnerUp: Type.Optional(Type.String()),
  margin: Type.Optional(Type.Number({ description: 'How much likelier than the runner-up the nearest is, in nats' })),
  p: Type.Optional(Type.Number({ description: 'Share of the nearest domain\'s own pictures that are as strange' }))
}, { title: 'Recognised', description: 'How the domain was chosen, where it was auto' })

export const PredictionsSchema = Type.Object({
  model: Type.String(),
  domain: Type.String(),
  version: Type.Integer(),
  recognised: Type.Optional(RecognisedSchema),
  predictions: Type.Array(Prediction)
}, { title: 'Predictions' })

export const ComparisonSchema = Type.Object({
  model: Type.String(),
  banks: Type.Array(Type.Object({
    domain: Type.String(),
    version: Type.Integer(),
    predictions: Type.Optional(Type.Array(Prediction)),
    entropy: Type.Optional(Type.Number({ description: 'How undecided the scores are, in nats' })),
    fit: Type.Optional(Type.Union([Type.Literal('good'), Type.Literal('none')], {
      description: 'Whether the picture is like those of the domain; absent without a signature'
    })),
    p: Type.Optional(Type.Number({ description: 'Share of the domain\'s own pictures that are as strange' }))
  })),
  agreement: Type.Optional(Type.Object({
    index: Type.Integer(),
    label: Type.String(),
    share: Type.Number({ description: 'Of the banks, those that have the class of most' }),
    banks: Type.Array(Type.String(), { description: 'Those, as domain:version' })
  })),
  differences: Type.Optional(Type.Array(Type.Object({
    banks: Type.Array(Type.String(), { description: 'Two, as domain:version' }),
    psnr: Type.Union([Type.Number(), Type.Null()], { description: 'In dB; null for equal pictures' }),
    meanDifference: Type.Number({ description: 'Of values from 0 to 255' }),
    largestDifference: Type.Integer()
  }), { description: 'Of each bank with each other' }))
}, { title: 'Comparison' })

export const GateQuery = Type.Object({
  absolute: Type.Number({ minimum: 0, default: 1e-4, description: 'How far an output may be off' }),
  relative: Type.Number({ minimum: 0, default: 1e-3, description: 'And how far more, in parts of what is expected' })
}, strict)

export const ActivateBody = Type.Object({ version: VersionParameter }, strict)

export const BlendBody = Type.Object({
  blend: Type.String({ minLength: 1, maxLength: 1600, examples: ['day=0.7,lowlight=0.3'] }),
  description: Type.Optional(Type.String({ maxLength: 2000 }))
}, strict)

export const RegisterQuery = Type.Object({
  activate: Type.Boolean({ default: true }),
  preprocessing: Type.Optional(Type.String({
    maxLength: 4096, description: 'JSON: how pictures are prepared; before what the bank itself says'
  }))
}, strict)

export const PredictQuery = Type.Object({
  top: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: 'How many classes; 5 if not given' })),
  quality: Type.Optional(Type.Integer({
    minimum: 1, maximum: 100, description: 'Of an answer in JPEG or WebP; 92 if not given'
  }))
}, strict)

export const CompareQuery = Type.Object({
  domains: Type.Optional(Type.String({
    maxLength: 4096,
    description: 'As X-Domain has them, with commas between, semicolons within a blend; all active ones if not given',
    examples: ['day,fog:1']
  })),
  top: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: 'How many classes; 5 if not given' }))
}, strict)

export const ProgressSchema = Type.Object({
  tilesDone: Type.Integer(), tilesTotal: Type.Integer()
}, { title: 'Progress' })

/** The error answers of a route, for the document. */
export function errorsOf (...statuses: number[]): Record<number, typeof ErrorSchema> {
  return Object.fromEntries(statuses.map((status) => [status, ErrorSchema]))
}
