/** Generated from the OpenAPI document of a server: `UPDATE_DOCUMENTS=1 npm test` writes it. */

export type Bytes = Uint8Array

export interface Accepted { id: string, state: string }

export interface AdminCall {
  time: string
  requestId: string
  address: string
  keyId?: string
  method: string
  path: string
  model?: string
  domain?: string
  version?: number | string
  status: number
  /** The code of the error, or ok */
  outcome: string
}

export interface Caller {
  /** Of the service */
  version: string
  /** At this address, with this key: infer, see models, see metrics, read the admin API, change domains */
  may: {
    infer: boolean
    list: boolean
    observe: boolean
    read: boolean
    change: boolean
  }
  key?: {
    /** The public part */
    id: string
    scopes: Array<'infer' | 'read' | 'admin'>
    /** The only models that it holds for */
    models?: string[]
    expiresAt?: string
  }
}

export interface Candidate {
  version: number
  /** Share of the requests */
  percent: number
}

export interface Comparison {
  model: string
  banks: Array<{
    domain: string
    version: number
    predictions?: Array<{ index: number, label: string, score: number }>
    /** How undecided the scores are, in nats */
    entropy?: number
    /** Whether the picture is like those of the domain; absent without a signature */
    fit?: 'good' | 'none'
    /** Share of the domain's own pictures that are as strange */
    p?: number
  }>
  agreement?: {
    index: number
    label: string
    /** Of the banks, those that have the class of most */
    share: number
    /** Those, as domain:version */
    banks: string[]
  }
  /** Of each bank with each other */
  differences?: Array<{
    /** Two, as domain:version */
    banks: string[]
    /** In dB; null for equal pictures */
    psnr: number | null
    /** Of values from 0 to 255 */
    meanDifference: number
    largestDifference: number
  }>
}

export interface Domain {
  domain: string
  description?: string
  active: number | null
  /** Grows with every change; the ETag */
  revision: number
  default: boolean
  /** Label -> version */
  labels?: Record<string, number>
  canary?: Candidate
  shadow?: Candidate
  gate?: Gate
  versions: Version[]
}

export interface DomainTraffic {
  /** Time of a slot */
  slotSeconds: number
  /** Whether drift is looked for */
  watchesDrift: boolean
  /** Bytes of the active version's bank in memory */
  residentBytes?: number
  /** Drift from the active version; absent before its first picture */
  drift?: {
    state: 'notEnoughSeen' | 'steady' | 'drifting'
    /** Looked at */
    pictures: number
    /** 1 or less on average while there is no drift */
    eValue?: number
  }
  recent?: {
    /** In the last hour, failed ones too */
    requests: number
    failures: number
    /** Over the last minute */
    perSecond: number
    /** Of the last quarter of an hour: reading, waiting, running */
    p50Ms?: number
    p99Ms?: number
    /** Requests by slot; the last one has not ended */
    series: number[]
  }
  versions: Array<{
    version: number
    /** In the last hour, failed ones too */
    requests: number
    failures: number
    /** Over the last minute */
    perSecond: number
    /** Of the last quarter of an hour: reading, waiting, running */
    p50Ms?: number
    p99Ms?: number
  }>
}

export interface Drift {
  model: string
  domain: string
  /** The active one */
  version: number
  state: 'noSignature' | 'notEnoughSeen' | 'steady' | 'drifting'
  /** The dial */
  requestsPerFalseAlarm: number
  /** Of pictures that are looked at */
  share: number
  /** Looked at */
  pictures?: number
  /** Of those, the ones that are not the picture before them again, or too soon after it */
  counted?: number
  /** To be looked at, but there was no room */
  passedOver?: number
  /** With features that are no numbers */
  notFinite?: number
  /** Of streams for which there was no room */
  unwatched?: number
  /** When watching began */
  since?: string
  /** Of drift, since then */
  alarms?: number
  /** When the last alarm was */
  lastAlarmAt?: string
  /** When the pictures began that speak for drift */
  driftingSince?: string
  streams?: { watched: number, drifting: number }
  /** Evidence of drift in all streams together: 1 or less on average while there is none; while there is, of the last alarm if that is larger */
  eValue?: number
  /** What the first layers see that moved most, farthest first */
  moved?: Array<{
    layer: string
    channel: number
    of: 'mean' | 'spread'
    /** Of the last pictures, in standard deviations of one picture */
    shift: number
  }>
  /** The other domain that the last pictures look most like */
  nearest?: string
}

export interface DriftCandidate {
  /** The new domain */
  domain: string
  /** Stored, and not activated by itself */
  version: number
  /** Whose pictures fitted no domain; empty where none was named */
  stream: string
  /** Pictures that it was made of */
  images: number
  /** What answers the stream, gave gamma and beta, and is compared with */
  base: { domain: string, version: number }
  /** Pictures of the stream that both have run since */
  comparedRows: number
  /** Pictures with another best class */
  disagreeingRows: number
  notFiniteRows: number
  /** Relative to the largest magnitude of the row */
  largestRelativeDifference: number
  /** Whether somebody has activated it */
  isActive: boolean
  since: string
}

export interface Error {
  /** What is wrong, for a person */
  error: string
  /** What is wrong, for a program */
  code: string
  /** The request in the log */
  requestId: string
  details?: Record<string, unknown>
}

export interface Front {
  name: string
  version: string
  links: Record<string, string>
}

export interface Gate {
  rows: number
  bytes: number
  absolute: number
  relative: number
  createdAt: string
}

export interface History {
  /** Time of a slot */
  slotSeconds: number
  /** Gauges as they are now */
  present: Record<string, number>
  /** The bounds of some of them */
  limits: Record<string, number>
  /** Requests by slot; the last one has not ended */
  requests: number[]
  stages: Record<string, {
    /** In ms, by slot; null where there was nothing */
    p50Ms: Array<number | null>
    /** In ms, by slot; null where there was nothing */
    p99Ms: Array<number | null>
  }>
  /** The highest value in each slot */
  gauges: Record<string, Array<number | null>>
}

export interface InferAnswer {
  model_name: string
  model_version?: string
  id?: string
  parameters: Record<string, unknown>
  outputs: Array<{
    name: string
    /** BOOL, UINT8 … FP64, BYTES */
    datatype: string
    shape: number[]
    parameters?: Record<string, unknown>
    data?: unknown[]
  }>
}

export interface Job {
  id: string
  state: 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled'
  /** Share of the work that is done, 0 to 1 */
  progress: number
  subject: Record<string, unknown>
  createdAt: string
  startedAt?: string
  endedAt?: string
  /** Of a job whose server ended before it could tell, only the version that was found */
  result?: JobResult
  error?: {
    code: string
    message: string
    details?: Record<string, unknown>
  }
}

export interface JobResult {
  model: string
  domain: string
  /** Absent where nothing was to be registered */
  version?: number
  /** Content hash of the bank */
  digest: string
  active: boolean
  hasSignature?: boolean
  images?: {
    given: number
    used: number
    duplicates: number
    broken: number
    /** The first hundred of the broken */
    brokenImages: Array<{ name: string, code: string }>
  }
  report?: {
    mode: string
    /** Those that the statistics are made of */
    images: number
    /** Work per image in forward runs */
    forwardRuns: number
    verdict: {
      isSettled: boolean
      /** They would settle every layer, if further images are like these */
      imagesNeeded: number
      text: string
    }
    layers: Array<{
      layer: string
      /** Standard error, in standard deviations */
      meanError: number
      /** Standard error, as a share of the variance */
      varianceError: number
      isSettled: boolean
      /** Those with hardly any variance */
      deadChannels: number
    }>
    warnings: Array<{ code: string, message: string }>
    predictions?: {
      images: number
      /** Images per class under the base bank */
      before: number[]
      /** Images per class under the new one */
      after: number[]
      /** Total variation distance between the two */
      distance: number
      /** How many classes the new predictions have in effect */
      effectiveClasses: number
    }
  }
  /** Reading the images */
  decodeMs?: number
  /** Forward runs */
  forwardMs?: number
}

export interface LeftCandidate {
  domain: string
  version: number
  /** Of the domain: whose pictures, how many, and under which version */
  description: string
  since: string
}

export interface Model {
  name: string
  title: string
  description?: string
  licence?: string
  task: string
  state: 'loading' | 'ready' | 'failed'
  defaultDomain: string
  domains: string[]
  input?: Record<string, unknown>
  output?: Record<string, unknown>
  /** Of a model for tensors: one row of each input */
  inputs?: Record<string, { shape: number[] }>
  tiling?: Record<string, unknown>
  /** How requests get a domain that name none */
  domainFrom?: string
  /** Number of classes */
  labels?: number
  compiled?: {
    fingerprint: string
    batchNorms: number
    layers: Array<{ key: string, channels: number, epsilon: number }>
    bytesPerDomain: number
    weightBytes: number
    maxRelativeError: number
    /** Memory of a run of one row, at the first size that it was compiled for */
    runBytes: number
    /** By input: elements that one row may have at most, so that its run stays within the memory of one */
    rowElementsMax: Record<string, number>
  }
  /** Versions that get most of the traffic and run on a network of their own */
  hot?: Array<{
    domain: string
    version: number
    digest: string
    /** Weights and sessions; versions of one digest share them */
    bytes: number
  }>
}

export interface ModelConfiguration {
  name: string
  platform: string
  backend: string
  max_batch_size: number
  input: Array<{ name: string, data_type: string, dims: number[] }>
  output: Array<{ name: string, data_type: string, dims: number[] }>
}

export interface ModelMetadata {
  name: string
  versions: string[]
  platform: string
  inputs: Array<{
    name: string
    /** BOOL, UINT8 … FP64, BYTES */
    datatype: string
    shape: number[]
  }>
  outputs: Array<{
    name: string
    /** BOOL, UINT8 … FP64, BYTES */
    datatype: string
    shape: number[]
  }>
}

export interface ModelStatistics {
  model_stats: Array<{
    name: string
    version: string
    /** Milliseconds since 1970 */
    last_inference: number
    /** Rows */
    inference_count: number
    /** Runs, which requests may share */
    execution_count: number
    inference_stats: Record<string, { count: number, ns: number }>
    batch_stats: Array<{
      batch_size: number
      compute_input: { count: number, ns: number }
      compute_infer: { count: number, ns: number }
      compute_output: { count: number, ns: number }
    }>
    memory_usage: unknown[]
  }>
}

export interface Predictions {
  model: string
  domain: string
  version: number
  /** How the domain was chosen, where it was auto */
  recognised?: Recognised
  predictions: Array<{ index: number, label: string, score: number }>
}

export interface Progress { tilesDone: number, tilesTotal: number }

export interface Recognised {
  /** none: no domain fits the picture, or the last ones of its stream together, and the default domain has answered; size: the size alone has chosen */
  fit: 'good' | 'none' | 'size'
  /** The domain that this picture alone looks like */
  nearest: string
  runnerUp?: string
  /** How much likelier than the runner-up the nearest is, in nats */
  margin?: number
  /** Share of the nearest domain's own pictures that are as strange */
  p?: number
}

export interface Registered {
  model: string
  domain: string
  version: number
  digest: string
  active: boolean
  /** Tensors of the file that are no statistics */
  ignored?: string[]
  warnings?: Array<{ code: string, message: string }>
}

export interface RepositoryRequest {
  /** Only what is ready */
  ready?: boolean | undefined
  parameters?: Record<string, unknown> | undefined
}

export interface ServerMetadata { name: string, version: string, extensions: string[] }

export interface Shadow {
  version: number
  /** The version that it is compared with */
  active: number
  percent: number
  comparedRows: number
  /** Rows with another best class */
  disagreeingRows: number
  /** Rows where one of the two has no finite answer */
  notFiniteRows: number
  /** Rows for which there was no room */
  droppedRows: number
  failedRows: number
  /** Relative to the largest magnitude of the row */
  largestRelativeDifference: number
  since: string
}

export interface Traffic {
  /** Time of a slot */
  slotSeconds: number
  /** Whether drift is looked for */
  watchesDrift: boolean
  /** Those that were asked in this process, or are in memory */
  domains: Array<{
    domain: string
    /** Bytes of the active version's bank in memory */
    residentBytes?: number
    /** Drift from the active version; absent before its first picture */
    drift?: {
      state: 'notEnoughSeen' | 'steady' | 'drifting'
      /** Looked at */
      pictures: number
      /** 1 or less on average while there is no drift */
      eValue?: number
    }
    recent?: {
      /** In the last hour, failed ones too */
      requests: number
      failures: number
      /** Over the last minute */
      perSecond: number
      /** Of the last quarter of an hour: reading, waiting, running */
      p50Ms?: number
      p99Ms?: number
      /** Requests by slot; the last one has not ended */
      series: number[]
    }
  }>
}

export interface Version {
  version: number
  /** Content hash of the bank */
  digest: string
  /** The network that the bank belongs to */
  fingerprint: string
  source: string
  bytes: number
  /** How pictures for this version are prepared, where it differs from the model */
  preprocessing?: Record<string, unknown>
  createdAt: string
  active: boolean
}

/** By method and path: what is given, and what comes back. */
export interface Routes {
  /** Infer (Open Inference Protocol v2, JSON or binary tensors) */
  'POST /v2/models/{model}/infer': {
    path: {
      /** model or model@domain */
      model: string
    }
    header?: {
      /** Domain, domain:version or domain:label; several with shares; auto for what the picture looks like */
      'x-domain'?: string | undefined
      /** With auto most of its last pictures decide for the domain, and all together whether they fit any; drift is watched by stream */
      'x-stream'?: string | undefined
      /** How long the request may wait, in ms; beyond, 504 */
      'x-timeout-ms'?: string | undefined
    }
    body: {
      id?: string | undefined
      parameters?: Record<string, string | number | boolean> | undefined
      inputs: Array<{
        name: string
        shape: number[]
        datatype: string
        parameters?: Record<string, string | number | boolean> | undefined
        data?: unknown | undefined
      }>
      outputs?: Array<{
        name: string
        parameters?: Record<string, string | number | boolean> | undefined
      }> | undefined
    }
    answer: InferAnswer
  }
  /** Infer (Open Inference Protocol v2, JSON or binary tensors) */
  'POST /v2/models/{model}/versions/{version}/infer': {
    path: {
      /** model or model@domain */
      model: string
      /** A version number, a label, or active */
      version: string
    }
    header?: {
      /** Domain, domain:version or domain:label; several with shares; auto for what the picture looks like */
      'x-domain'?: string | undefined
      /** With auto most of its last pictures decide for the domain, and all together whether they fit any; drift is watched by stream */
      'x-stream'?: string | undefined
      /** How long the request may wait, in ms; beyond, 504 */
      'x-timeout-ms'?: string | undefined
    }
    body: {
      id?: string | undefined
      parameters?: Record<string, string | number | boolean> | undefined
      inputs: Array<{
        name: string
        shape: number[]
        datatype: string
        parameters?: Record<string, string | number | boolean> | undefined
        data?: unknown | undefined
      }>
      outputs?: Array<{
        name: string
        parameters?: Record<string, string | number | boolean> | undefined
      }> | undefined
    }
    answer: InferAnswer
  }
  /** Classify a picture, or turn it into another */
  'POST /v1/models/{model}/predict': {
    path: {
      /** model or model@domain */
      model: string
    }
    query?: {
      /** How many classes; 5 if not given */
      top?: number | undefined
      /** Of an answer in JPEG or WebP; 92 if not given */
      quality?: number | undefined
    }
    header?: {
      /** Domain, domain:version or domain:label; several with shares; auto for what the picture looks like */
      'x-domain'?: string | undefined
      /** With auto most of its last pictures decide for the domain, and all together whether they fit any; drift is watched by stream */
      'x-stream'?: string | undefined
      /** How long the request may wait, in ms; beyond, 504 */
      'x-timeout-ms'?: string | undefined
      /** Makes the progress of a large picture readable at /v1/progress/{key} */
      'x-progress-key'?: string | undefined
    }
    body: Bytes
    answer: Predictions
  }
  /** How far a picture has got */
  'GET /v1/progress/{key}': {
    path: { key: string }
    answer: Progress
  }
  /** One picture under several banks: how far they agree */
  'POST /v1/models/{model}/compare': {
    path: { model: string }
    query?: {
      /** As X-Domain has them, with commas between, semicolons within a blend; all active ones if not given */
      domains?: string | undefined
      /** How many classes; 5 if not given */
      top?: number | undefined
    }
    header?: {
      /** How long the request may wait, in ms; beyond, 504 */
      'x-timeout-ms'?: string | undefined
    }
    body: Bytes
    answer: Comparison
  }
  /** Register a new version of a domain, or a new domain */
  'PUT /admin/models/{model}/domains/{domain}': {
    path: { model: string, domain: string }
    query?: {
      activate?: boolean | undefined
      /** JSON: how pictures are prepared; before what the bank itself says */
      preprocessing?: string | undefined
    }
    header?: {
      /** The ETag that the domain must have; * for a domain that must exist */
      'if-match'?: string | undefined
      /** * for a domain that must not exist yet */
      'if-none-match'?: string | undefined
    }
    body: Bytes
    answer: Registered
  }
  /** Remove a domain with all its versions */
  'DELETE /admin/models/{model}/domains/{domain}': {
    path: { model: string, domain: string }
    header?: {
      /** The ETag that the domain must have; * for a domain that must exist */
      'if-match'?: string | undefined
      /** * for a domain that must not exist yet */
      'if-none-match'?: string | undefined
    }
    answer: unknown
  }
  /** All versions of a domain */
  'GET /admin/models/{model}/domains/{domain}/versions': {
    path: { model: string, domain: string }
    answer: { versions: Version[] }
  }
  /** Download a version as safetensors */
  'GET /admin/models/{model}/domains/{domain}/versions/{version}': {
    path: { model: string, domain: string, version: number }
    answer: Bytes
  }
  /** Remove a version that is not active */
  'DELETE /admin/models/{model}/domains/{domain}/versions/{version}': {
    path: { model: string, domain: string, version: number }
    header?: {
      /** The ETag that the domain must have; * for a domain that must exist */
      'if-match'?: string | undefined
      /** * for a domain that must not exist yet */
      'if-none-match'?: string | undefined
    }
    answer: Domain
  }
  /** Make a version the active one */
  'POST /admin/models/{model}/domains/{domain}/activate': {
    path: { model: string, domain: string }
    header?: {
      /** The ETag that the domain must have; * for a domain that must exist */
      'if-match'?: string | undefined
      /** * for a domain that must not exist yet */
      'if-none-match'?: string | undefined
    }
    body: { version: number }
    answer: Domain
  }
  /** Return to the version that was active before */
  'POST /admin/models/{model}/domains/{domain}/rollback': {
    path: { model: string, domain: string }
    header?: {
      /** The ETag that the domain must have; * for a domain that must exist */
      'if-match'?: string | undefined
      /** * for a domain that must not exist yet */
      'if-none-match'?: string | undefined
    }
    answer: Domain
  }
  /** Register a blend of other domains as a new version of a domain, or a new domain */
  'POST /admin/models/{model}/domains/{domain}/blend': {
    path: { model: string, domain: string }
    query?: { activate?: boolean | undefined }
    header?: {
      /** The ETag that the domain must have; * for a domain that must exist */
      'if-match'?: string | undefined
      /** * for a domain that must not exist yet */
      'if-none-match'?: string | undefined
    }
    body: { blend: string, description?: string | undefined }
    answer: Registered & {
      /** The parts with their versions and shares, as X-Domain takes them */
      blend: string
    }
  }
  /** Let a label point to a version */
  'PUT /admin/models/{model}/domains/{domain}/labels/{label}': {
    path: { model: string, domain: string, label: string }
    header?: {
      /** The ETag that the domain must have; * for a domain that must exist */
      'if-match'?: string | undefined
      /** * for a domain that must not exist yet */
      'if-none-match'?: string | undefined
    }
    body: { version: number }
    answer: Domain
  }
  /** Take a label away */
  'DELETE /admin/models/{model}/domains/{domain}/labels/{label}': {
    path: { model: string, domain: string, label: string }
    header?: {
      /** The ETag that the domain must have; * for a domain that must exist */
      'if-match'?: string | undefined
      /** * for a domain that must not exist yet */
      'if-none-match'?: string | undefined
    }
    answer: Domain
  }
  /** Let a version answer a share of the requests that pin none */
  'PUT /admin/models/{model}/domains/{domain}/canary': {
    path: { model: string, domain: string }
    header?: {
      /** The ETag that the domain must have; * for a domain that must exist */
      'if-match'?: string | undefined
      /** * for a domain that must not exist yet */
      'if-none-match'?: string | undefined
    }
    body: Candidate
    answer: Domain
  }
  /** End the canary */
  'DELETE /admin/models/{model}/domains/{domain}/canary': {
    path: { model: string, domain: string }
    header?: {
      /** The ETag that the domain must have; * for a domain that must exist */
      'if-match'?: string | undefined
      /** * for a domain that must not exist yet */
      'if-none-match'?: string | undefined
    }
    answer: Domain
  }
  /** Let a version run a share of the requests once more, unseen */
  'PUT /admin/models/{model}/domains/{domain}/shadow': {
    path: { model: string, domain: string }
    header?: {
      /** The ETag that the domain must have; * for a domain that must exist */
      'if-match'?: string | undefined
      /** * for a domain that must not exist yet */
      'if-none-match'?: string | undefined
    }
    body: Candidate
    answer: Domain
  }
  /** End the shadow */
  'DELETE /admin/models/{model}/domains/{domain}/shadow': {
    path: { model: string, domain: string }
    header?: {
      /** The ETag that the domain must have; * for a domain that must exist */
      'if-match'?: string | undefined
      /** * for a domain that must not exist yet */
      'if-none-match'?: string | undefined
    }
    answer: Domain
  }
  /** How the shadow compares with the active version */
  'GET /admin/models/{model}/domains/{domain}/shadow': {
    path: { model: string, domain: string }
    answer: Shadow
  }
  /** Set what versions of the domain must give for golden inputs before requests get them */
  'PUT /admin/models/{model}/domains/{domain}/gate': {
    path: { model: string, domain: string }
    query?: {
      /** How far an output may be off */
      absolute?: number | undefined
      /** And how far more, in parts of what is expected */
      relative?: number | undefined
    }
    header?: {
      /** The ETag that the domain must have; * for a domain that must exist */
      'if-match'?: string | undefined
      /** * for a domain that must not exist yet */
      'if-none-match'?: string | undefined
    }
    body: {
      inputs: Array<{
        name: string
        shape: number[]
        datatype: string
        parameters?: Record<string, string | number | boolean> | undefined
        data?: unknown | undefined
      }>
      expected: Array<{
        name: string
        shape: number[]
        datatype: string
        parameters?: Record<string, string | number | boolean> | undefined
        data?: unknown | undefined
      }>
    }
    answer: Domain
  }
  /** Download the gate as safetensors */
  'GET /admin/models/{model}/domains/{domain}/gate': {
    path: { model: string, domain: string }
    answer: Bytes
  }
  /** Remove the gate */
  'DELETE /admin/models/{model}/domains/{domain}/gate': {
    path: { model: string, domain: string }
    header?: {
      /** The ETag that the domain must have; * for a domain that must exist */
      'if-match'?: string | undefined
      /** * for a domain that must not exist yet */
      'if-none-match'?: string | undefined
    }
    answer: Domain
  }
  /** Make a bank for a domain from unlabelled images */
  'POST /admin/models/{model}/domains/{domain}/calibrations': {
    path: { model: string, domain: string }
    header?: {
      /** The ETag that the domain must have; * for a domain that must exist */
      'if-match'?: string | undefined
      /** * for a domain that must not exist yet */
      'if-none-match'?: string | undefined
    }
    body: {
      images?: Bytes[] | undefined
      tensors?: Bytes | undefined
      /** how layers see the images while statistics are taken */
      mode?: 'sequential' | 'fixed' | 'fvcore' | 'torch' | 'ema' | 'signature' | undefined
      /** mode signature: width x height in which pictures are looked at; the size of the domain's own */
      signatureSize?: string | undefined
      /** domain, or domain:version, that gives gamma, beta and what is not adapted; the default domain, or in mode signature the domain itself */
      base?: string | undefined
      /** images per run; changes the result of fvcore, torch and ema only */
      batchSize?: number | undefined
      /** of mode ema; null is the cumulative average */
      momentum?: number | null | undefined
      /** mode ema begins at mean 0, variance 1, not at the base bank */
      fresh?: boolean | undefined
      /** num_batches_tracked that mode ema begins with */
      batchesTracked?: number | undefined
      /** how many images the base bank counts as */
      priorImages?: number | undefined
      /** how base and fresh statistics are mixed */
      priorKind?: 'schneider' | 'mixture' | undefined
      /** layers to adapt, by key or prefix ending in *; all when empty */
      layers?: string[] | undefined
      /** a layer is settled when its standard errors are below this share of the spread */
      tolerance?: number | undefined
      /** stop at 64, 128, 256, … images once every layer is settled */
      stopEarly?: boolean | undefined
      /** fewer distinct images are refused */
      minimumImages?: number | undefined
      /** one unreadable image ends the job */
      strict?: boolean | undefined
      /** serve the new version at once */
      activate?: boolean | undefined
      /** of the domain */
      description?: string | undefined
    }
    answer: Accepted
  }
  /** Merge the sums of a calibrated bank into a domain, or take them out again */
  'POST /admin/models/{model}/domains/{domain}/contributions': {
    path: { model: string, domain: string }
    query?: {
      operation?: 'merge' | 'subtract' | undefined
      minimumImages?: number | undefined
      activate?: boolean | undefined
    }
    header?: {
      /** The ETag that the domain must have; * for a domain that must exist */
      'if-match'?: string | undefined
      /** * for a domain that must not exist yet */
      'if-none-match'?: string | undefined
    }
    body: Bytes
    answer: Registered & { images: number }
  }
  /** All jobs, newest first */
  'GET /admin/jobs': {
    answer: { jobs: Job[] }
  }
  /** How a job stands */
  'GET /admin/jobs/{id}': {
    path: { id: string }
    answer: Job
  }
  /** Cancel a job; one that has ended stays what it is */
  'DELETE /admin/jobs/{id}': {
    path: { id: string }
    answer: Job
  }
  /** Models, and the versions of each model@domain */
  'POST /v2/repository/index': {
    body: RepositoryRequest
    answer: Array<{
      name: string
      version?: string
      state: string
      reason: string
    }>
  }
  /** Activate model@domain:version, or the newest version of model@domain */
  'POST /v2/repository/models/{model}/load': {
    path: {
      /** model or model@domain */
      model: string
    }
    body: RepositoryRequest
    answer: string
  }
  /** Leave model@domain without an active version */
  'POST /v2/repository/models/{model}/unload': {
    path: {
      /** model or model@domain */
      model: string
    }
    body: RepositoryRequest
    answer: string
  }
  /** The server */
  'GET /v2': {
    answer: ServerMetadata
  }
  /** Is the process alive, and not beyond help but a restart */
  'GET /v2/health/live': {
    answer: { live: boolean }
  }
  /** Is every model ready, and room for bodies */
  'GET /v2/health/ready': {
    answer: { live: boolean, ready: boolean }
  }
  /** Names of all models */
  'GET /v2/models': {
    answer: { models: string[] }
  }
  /** Tensors and versions */
  'GET /v2/models/{model}': {
    path: {
      /** model or model@domain */
      model: string
    }
    answer: ModelMetadata
  }
  /** Tensors and versions, of one version */
  'GET /v2/models/{model}/versions/{version}': {
    path: {
      /** model or model@domain */
      model: string
      /** A version number, a label, or active */
      version: string
    }
    answer: ModelMetadata
  }
  /** Can it answer */
  'GET /v2/models/{model}/ready': {
    path: {
      /** model or model@domain */
      model: string
    }
    answer: { name: string, ready: boolean }
  }
  /** Can it answer, of one version */
  'GET /v2/models/{model}/versions/{version}/ready': {
    path: {
      /** model or model@domain */
      model: string
      /** A version number, a label, or active */
      version: string
    }
    answer: { name: string, ready: boolean }
  }
  /** Configuration as Triton writes it */
  'GET /v2/models/{model}/config': {
    path: {
      /** model or model@domain */
      model: string
    }
    answer: ModelConfiguration
  }
  /** Configuration as Triton writes it, of one version */
  'GET /v2/models/{model}/versions/{version}/config': {
    path: {
      /** model or model@domain */
      model: string
      /** A version number, a label, or active */
      version: string
    }
    answer: ModelConfiguration
  }
  /** Statistics of all models and domains */
  'GET /v2/models/stats': {
    answer: ModelStatistics
  }
  /** Statistics of a model, or of each version of model@domain */
  'GET /v2/models/{model}/stats': {
    path: {
      /** model or model@domain */
      model: string
    }
    answer: ModelStatistics
  }
  /** Statistics of one version */
  'GET /v2/models/{model}/versions/{version}/stats': {
    path: {
      /** model or model@domain */
      model: string
      /** A version number, a label, or active */
      version: string
    }
    answer: ModelStatistics
  }
  /** All models */
  'GET /v1/models': {
    answer: { models: Model[] }
  }
  /** One model */
  'GET /v1/models/{model}': {
    path: { model: string }
    answer: Model
  }
  /** All domains of a model */
  'GET /v1/models/{model}/domains': {
    path: { model: string }
    answer: { domains: Domain[] }
  }
  /** One domain with its versions */
  'GET /v1/models/{model}/domains/{domain}': {
    path: { model: string, domain: string }
    answer: Domain
  }
  /** Whether pictures are still those of the domain */
  'GET /v1/models/{model}/domains/{domain}/drift': {
    path: { model: string, domain: string }
    answer: Drift
  }
  /** New domains made of pictures that fitted none, and what they would change */
  'GET /admin/models/{model}/candidates': {
    path: { model: string }
    answer: {
      candidates: DriftCandidate[]
      /** What else nobody has decided about: of streams that this process does not follow */
      left: LeftCandidate[]
    }
  }
  /** What the domains of a model were asked lately */
  'GET /v1/models/{model}/traffic': {
    path: { model: string }
    answer: Traffic
  }
  /** What a domain and its versions were asked lately */
  'GET /v1/models/{model}/domains/{domain}/traffic': {
    path: { model: string, domain: string }
    answer: DomainTraffic
  }
  /** The last hour of the service: latency by stage, queue, threads, memory */
  'GET /metrics/history': {
    answer: History
  }
  /** The last admin calls that changed something or were refused, newest first */
  'GET /admin/calls': {
    answer: { calls: AdminCall[] }
  }
  /** The names of the sample pictures that a model comes with */
  'GET /v1/models/{model}/samples': {
    path: { model: string }
    answer: { samples: string[] }
  }
  /** A sample picture */
  'GET /v1/models/{model}/samples/{sample}': {
    path: { model: string, sample: string }
    answer: Bytes
  }
  /** What the key of this request may, or a request without one */
  'GET /v1/caller': {
    answer: Caller
  }
  /** Where everything is: a page for browsers, JSON for programs */
  'GET /': {
    answer: Front
  }
  /** Is the process alive, and not beyond help but a restart */
  'GET /livez': {
    answer: { live: boolean }
  }
  /** Is every model compiled, proven and warm, and room for bodies */
  'GET /readyz': {
    answer: { ready: boolean }
  }
  /** Metrics for Prometheus */
  'GET /metrics': {
    answer: unknown
  }
}
