/**
 * Every setting, once: its meaning, bounds and default. The type, the environment names, the command-line flags and the
 * table of docs/settings.md all derive from here. `modelsDir` is BANKSWITCH_MODELS_DIR and --models-dir.
 */
import { availableParallelism } from 'node:os'
import { Type, type Static, type TSchema } from '#typebox'
import { NETWORKS_FORMAT } from './networks.js'

const MIB = 2 ** 20

const WORKERS_MAX = 256

/** One inference thread a core, within the setting's own bounds. */
export function workersDefault (cores: number): number {
  return Math.min(cores, WORKERS_MAX)
}

export const settingsShape = {
  host: Type.String({ minLength: 1, default: '127.0.0.1', description: 'Address to listen on' }),
  port: Type.Integer({
    minimum: 0, maximum: 65535, default: 8080, description: 'Port to listen on; 0 takes a free one'
  }),
  modelsDir: Type.String({ minLength: 1, default: 'models', description: 'Folder of models, read at start' }),
  domainsDir: Type.String({
    minLength: 1, default: 'domains', description: 'Folder of shipped domains, never written'
  }),
  store: Type.String({
    minLength: 1,
    default: '.bankswitch/store',
    description: 'Folder of stored banks, written at run time, or a database that servers share: `postgres://…`'
  }),
  storePollMs: Type.Integer({
    minimum: 50,
    maximum: 60_000,
    default: 250,
    description: 'Of a database: how often it is looked at for what other servers have changed, in ms'
  }),
  storeAgeMs: Type.Integer({
    minimum: 0,
    maximum: 2 ** 31 - 1,
    default: 0,
    description: 'Of a database: for how long it may be away before `/readyz` fails, in ms; 0 for ever'
  }),
  cacheDir: Type.String({
    minLength: 1, default: '.bankswitch/cache', description: 'Folder of compiled models; may be deleted at any time'
  }),
  jobsDir: Type.String({ minLength: 1, default: '.bankswitch/jobs', description: 'Folder of what became of jobs' }),
  adminKey: Type.Optional(Type.String({
    minLength: 16, maxLength: 512, secret: true, description: 'Key of the admin API; given, no key file is used'
  })),
  adminKeyFile: Type.String({
    minLength: 1,
    default: '.bankswitch/admin.key',
    description: 'File of the admin key, made at the first start, mode 0600'
  }),
  keysFile: Type.String({
    minLength: 1,
    default: '.bankswitch/keys.json',
    description: 'File of further keys, which `bankswitch keys` writes; read again when it changes'
  }),
  inferenceKeyed: Type.Boolean({ default: false, description: 'Whether inference, and lists of models, need a key' }),
  metricsKeyed: Type.Boolean({ default: false, description: 'Whether `/metrics` needs a key' }),
  requestsPerMinute: Type.Integer({
    minimum: 0,
    maximum: 1_000_000_000,
    default: 0,
    description: 'Requests a minute of one key, or of one address without a key; beyond, 429; 0 for no limit'
  }),
  trustedProxies: Type.Optional(Type.String({
    maxLength: 8192,
    format: NETWORKS_FORMAT,
    description: 'Proxies whose `X-Forwarded-For` tells the client\'s address: CIDRs with commas between; ' +
      'not given, nobody\'s'
  })),
  adminPort: Type.Optional(Type.Integer({
    minimum: 0,
    maximum: 65535,
    description: 'Port for the admin API and metrics, which the other port then does not serve; 0 takes a free one'
  })),
  ui: Type.Boolean({ default: true, description: 'Whether there is a page for browsers at `/ui`' }),
  adminHost: Type.String({
    minLength: 1, default: '127.0.0.1', description: 'Address to listen on at the port for the admin API'
  }),
  tlsCertificateFile: Type.Optional(Type.String({
    minLength: 1,
    description: 'PEM certificates, leaf first; with its key, all ports speak HTTPS; read again when it changes'
  })),
  tlsKeyFile: Type.Optional(Type.String({ minLength: 1, description: 'PEM private key of the certificate' })),
  auditFile: Type.String({
    minLength: 1,
    default: '.bankswitch/audit.jsonl',
    description: 'File that every admin call is appended to, a JSON line each; for logrotate to rotate'
  }),
  auditLogged: Type.Boolean({
    default: false, description: 'Whether admin calls go to the log as well; with a database they always do'
  }),
  workers: Type.Integer({
    minimum: 1,
    maximum: WORKERS_MAX,
    default: workersDefault(availableParallelism()),
    defaultText: 'cores',
    description: 'Inference threads'
  }),
  expressThreads: Type.Integer({
    minimum: 0,
    maximum: WORKERS_MAX,
    default: 1,
    description: 'Further inference threads, started when first needed, for domains that ask little beside a flood'
  }),
  foldBudget: Type.Number({
    minimum: 0,
    default: 0.05,
    description: 'Share of a model\'s weight bytes that one domain may cost; 0 for statistics only, `infinite` for all'
  }),
  autoFitMin: Type.Number({
    minimum: 0,
    maximum: 1,
    default: 0.005,
    description: 'Pictures that `auto` looks at and whose p-value is smaller fit no domain, nor do the last of a ' +
      'stream together; the default one answers'
  }),
  autoLast: Type.Integer({
    minimum: 1,
    maximum: 1000,
    default: 5,
    description: 'Pictures of a stream (`X-Stream`), the present one among them, most of which decide for `auto`'
  }),
  autoStreams: Type.Integer({
    minimum: 1,
    maximum: 100_000,
    default: 256,
    description: 'Streams that are remembered of one key, or of one address without a key'
  }),
  driftErt: Type.Integer({
    minimum: 0,
    maximum: 1_000_000_000_000,
    default: 0,
    description: 'Requests of a domain for each false alarm of drift, on average at least; 0 does not look for drift'
  }),
  driftShare: Type.Number({
    minimum: 0,
    maximum: 1,
    default: 0.05,
    description: 'Share of the pictures that is looked at for drift'
  }),
  driftCollect: Type.Boolean({
    default: false,
    description: 'Whether sums of pictures that fit no domain are gathered, by stream, for a candidate of a new domain'
  }),
  driftCollectImages: Type.Integer({
    minimum: 32,
    maximum: 100_000,
    default: 256,
    description: 'Pictures of a stream that make a candidate'
  }),
  queueRows: Type.Integer({
    minimum: 1, maximum: 1_000_000, default: 1024, description: 'Rows that may wait; beyond, requests get 429'
  }),
  runRows: Type.Integer({
    minimum: 1, maximum: 1024, default: 4, description: 'Rows of one bank that waiting requests may share in a run'
  }),
  runBytes: Type.Integer({
    minimum: 2 ** 20,
    maximum: 2 ** 40,
    default: 512 * MIB,
    description: 'Memory that one run may take, in bytes, as measured at compilation; beyond, requests get 413'
  }),
  runMs: Type.Integer({
    minimum: 100,
    maximum: 3_600_000,
    default: 60_000,
    description: 'Longest time of one run, in ms; beyond, its requests get 503 and another thread takes over'
  }),
  bankCacheBytes: Type.Integer({
    minimum: 0,
    maximum: 2 ** 40,
    default: 256 * MIB,
    description: 'Folded banks kept ready, in bytes, and as much again, packed, in all workers together'
  }),
  hotBytes: Type.Integer({
    minimum: 0,
    maximum: 2 ** 40,
    default: 0,
    description: 'Memory for networks of single domains that get most of the traffic, in bytes; 0 for none'
  }),
  bodyBytes: Type.Integer({
    minimum: 1024, maximum: 2 ** 31 - 1, default: 64 * MIB, description: 'Largest request body, in bytes'
  }),
  jsonBytes: Type.Integer({
    minimum: 1024,
    maximum: 2 ** 28,
    default: 16 * MIB,
    description: 'Largest JSON of a request, in bytes: a body of JSON, or what stands before binary tensors'
  }),
  bodiesBytes: Type.Integer({
    minimum: 1024,
    maximum: 2 ** 40,
    default: 512 * MIB,
    description: 'Request bodies in memory at once, in bytes; beyond, requests get 429'
  }),
  answerBytes: Type.Integer({
    minimum: 1024,
    maximum: 2 ** 31 - 1,
    default: 128 * MIB,
    description: 'Largest inference answer, in bytes, as its shapes tell before it is written; beyond, 413'
  }),
  answersBytes: Type.Integer({
    minimum: 1024,
    maximum: 2 ** 40,
    default: 512 * MIB,
    description: 'Inference answers in memory at once, pictures too, in bytes; beyond, requests get 429'
  }),
  compressBytes: Type.Integer({
    minimum: 1,
    maximum: 2 ** 40,
    default: 1024,
    description: 'Smallest inference answer that is compressed for clients that accept it, in bytes'
  }),
  connections: Type.Integer({
    minimum: 1, maximum: 1_000_000, default: 4096, description: 'Open connections; beyond, new ones are closed'
  }),
  refusalHoldMs: Type.Integer({
    minimum: 0,
    maximum: 60_000,
    default: 1000,
    description: 'Time that a 429 is held back, in ms, and up to five times as long when many are'
  }),
  imagePixels: Type.Integer({
    minimum: 1, maximum: 2 ** 31 - 1, default: 50_000_000, description: 'Largest picture, in pixels'
  }),
  calibrationBytes: Type.Integer({
    minimum: 2 ** 20,
    maximum: 2 ** 40,
    default: 1024 * MIB,
    description: 'Memory that the images and activations of a calibration may take, in bytes'
  }),
  pictureBytes: Type.Integer({
    minimum: 2 ** 20,
    maximum: 2 ** 40,
    default: 1536 * MIB,
    description: 'Memory for pictures under way, decoding and image-to-image answers, in bytes; beyond, 429'
  }),
  shutdownMs: Type.Integer({
    minimum: 0,
    maximum: 3_600_000,
    default: 30_000,
    description: 'Time that SIGTERM leaves to requests under way, in ms'
  }),
  traceUrl: Type.Optional(Type.String({
    maxLength: 2048,
    secret: true,
    pattern: '^https?://[^\\s/@]+(/[^\\s@]*)?$',
    description: 'Where a collector takes OTLP over HTTP: `http://127.0.0.1:4318/v1/traces`; not given, no traces'
  })),
  traceRatio: Type.Number({
    minimum: 0,
    maximum: 1,
    default: 1,
    description: 'Share of requests that are traced; a caller\'s `traceparent` goes before'
  }),
  logLevel: Type.Union(
    ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'].map((level) => Type.Literal(level)) as [],
    { default: 'info', description: 'Least severe level that is logged' }
  )
} satisfies Record<string, TSchema>

export const SettingsSchema = Type.Object(settingsShape, { additionalProperties: false })

export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'

type SchemaSettings = Static<typeof SettingsSchema>

export type Settings = Readonly<Omit<SchemaSettings, 'logLevel'> & { logLevel: LogLevel }>

export const SETTING_NAMES = Object.keys(settingsShape) as Array<keyof Settings>

export const ENVIRONMENT_PREFIX = 'BANKSWITCH_'

/** modelsDir -> BANKSWITCH_MODELS_DIR */
export function environmentName (setting: string): string {
  return ENVIRONMENT_PREFIX + setting.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
}

/** modelsDir -> models-dir */
export function flagName (setting: string): string {
  return setting.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** True for settings that must not be shown, logged or given on a command line. */
export function isSecret (setting: string): boolean {
  const schema = settingsShape[setting as keyof typeof settingsShape] as object | undefined
  return schema !== undefined && 'secret' in schema
}

/** True for a store in a database, which several processes may share; others are folders. */
export function isDatabase (store: string): boolean {
  return /^postgres(ql)?:\/\//i.test(store)
}
