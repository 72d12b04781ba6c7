/** One inference request: which bank, are the tensors right, run, and put the parts together again. */
import { concatenateRows, shapeKey, sliceRows, type Tensors } from '../../ort/rows.js'
import { bankKey, foldedBank, type BankSources } from '../banks-to-run.js'
import { digestOfChosen, nameOfChosen, type ChosenVersion } from '../blends.js'
import { checkFeeds } from '../feeds.js'
import { leaseKey } from '../leases.js'
import { turnOf } from '../lone-row.js'
import { chooseVersion, type ChoiceNeeds, type LeasedVersion } from './choose-version.js'
import type { FoldedBank } from '../../bank/fold.js'
import type { TrafficBook } from '../../observability/traffic.js'
import type { Metrics } from '../../observability/metrics.js'
import type { Job, JobResult } from '../../runtime/job.js'
import type { InferencePool } from '../../runtime/pool.js'
import type { BankStore } from '../../store/bank-store.js'
import type { HotDomains } from '../heating/hot-domains.js'
import type { ResolvedDomain } from '../domain-reference.js'
import type { ReadyModel } from '../model-states.js'
import type { From, Recognised, Recognition } from '../recognising/recognition.js'
import type { Sender, VersionWish } from '../version-wish.js'
import type { Drift } from '../watching/drift.js'

export interface InferenceRequest {
  wish: VersionWish
  /** Or what reads them once the version is chosen: a raw body has the size of the version's pictures. */
  feeds: Tensors | ((chosen: ResolvedDomain) => Tensors)
  /** Drops the request while it waits. */
  signal?: AbortSignal
  /** What reading the request took, for the traffic. */
  inputMs?: number
}

export interface InferenceResult {
  /** As the answer names it: of a blend all parts. */
  domain: string
  /** Of a blend that of its heaviest part. */
  version: number
  /** Content of the bank that answered. */
  digest: string
  /** Names the version that it counts for in the traffic. */
  countedAs: string
  outputs: Tensors
  queueMs: number
  inferMs: number
  /** The runs that had a part in it. */
  runs: readonly Run[]
  /** Where the domain was chosen by what was sent. */
  recognised?: Recognised
}

/** What one run did for a request. */
export interface Run extends Pick<JobResult, 'queueMs' | 'inferMs' | 'startedAt' | 'runRows'> {
  /** The request's own rows among those of the run. */
  rows: number
}

/** What answering a request of tensors needs. */
export interface InferenceNeeds extends BankSources, ChoiceNeeds {
  store: Pick<BankStore, 'domain' | 'domains' | 'read' | 'catchUp'>
  pool: Pick<InferencePool, 'submit'>
  metrics: Pick<Metrics, 'countInference'>
  traffic: Pick<TrafficBook, 'countAnswered' | 'countFailed'>
  /** Gives a network of its own to who asks most. */
  hot: Pick<HotDomains, 'count'>
  /** Tells domains by what is sent. */
  recognition: Pick<Recognition, 'rows' | 'picture'>
  /** Rows that may share a run. */
  runRows: number
  /** What the activations of a run may take. */
  runBytes: number
  /** Runs once more, unseen, what the active version has answered. */
  shadows: { offer (model: ReadyModel, group: Group, outputs: Tensors): void }
  /** Watches whether pictures are still the domain's; undefined where nobody does. */
  drift?: Pick<Drift, 'offer'> | undefined
}

/** Rows of a request that one version answers. */
export interface Group {
  resolved: ChosenVersion & { recognised?: Recognised }
  feeds: Tensors
  rows: number
  /** By row, whether what was sent chose the domain; as it was for the version if not given. */
  isChosen?: readonly boolean[]
}

/** Whose picture it is that is to be recognised, and what gives it up. */
export function fromOf (wish: VersionWish, signal: AbortSignal | undefined): From {
  return { sender: wish.sender?.stream === undefined ? undefined : watchedAs(wish), signal }
}

/** Whose pictures are watched together. */
export function watchedAs ({ sender }: VersionWish): Sender {
  return { caller: sender?.caller ?? '', stream: sender?.stream ?? '' }
}

function chosenRows ({ resolved, rows, isChosen }: Group): readonly boolean[] {
  return isChosen ?? Array<boolean>(rows).fill(resolved.recognised !== undefined)
}

export function recognisedIn ({ recognised }: LeasedVersion): { recognised?: Recognised } {
  return recognised === undefined ? {} : { recognised }
}

/**
 * One version answers all rows: of several, the one that the first looks like. Rejects with what choosing, checking,
 * the store or the pool throws.
 */
export async function infer (
  needs: InferenceNeeds, model: ReadyModel, { wish, feeds: given, ...options }: InferenceRequest
): Promise<InferenceResult> {
  const recognise = async () => {
    const [first] = await needs.recognition.rows(model, given as Tensors, fromOf(wish, options.signal))
    return first!
  }
  const input = typeof given === 'function' ? undefined : { feeds: given, recognise }
  const resolved = await chooseVersion(needs, model.entry.manifest, wish, input)
  try {
    const feeds = typeof given === 'function' ? given(resolved) : given
    const rows = checkFeeds(model.artefact.inputs, feeds)
    const [result] = await inferGroups(needs, model, [{ resolved, feeds, rows }], { wish, ...options })
    return { ...result!, ...recognisedIn(resolved) }
  } finally {
    resolved.release()
  }
}

/**
 * One result for each group, in order; all groups are let in together or none. The caller holds their versions. Rejects
 * with INPUT_TOO_LARGE, and what the store or the pool throws.
 */
export async function inferGroups (
  needs: InferenceNeeds, model: ReadyModel, groups: readonly Group[],
  { signal, inputMs = 0, wish }: Pick<InferenceRequest, 'signal' | 'inputMs'> & { wish?: VersionWish } = {}
): Promise<InferenceResult[]> {
  const { name } = model.entry.manifest
  const keyOf = ({ resolved: { record, version } }: Group) => leaseKey(name, record.domain, version.version)
  const total = groups.reduce((sum, { rows }) => sum + rows, 0)
  for (const { feeds, rows } of groups) {
    model.memory.requireFits(feeds, model.artefact.proof.isRowInvariant ? 1 : rows, needs.runBytes)
  }
  const begin = performance.now()
  try {
    const banks = await Promise.all(groups.map(({ resolved }) => foldedBank(needs, model, resolved)))
    const results = await runGroups(needs, model, groups, banks, signal)
    for (const [at, group] of groups.entries()) {
      const { rows, resolved: { record, blend } } = group
      needs.metrics.countInference(name, record.domain, rows, 'ok')
      needs.traffic.countAnswered(keyOf(group), { rows, inputMs: inputMs * rows / total, ...results[at]! })
      // A version alone can have a network of its own, and a shadow to be compared with.
      if (blend !== undefined) continue
      needs.hot.count(model, group.resolved, rows)
      needs.shadows.offer(model, group, results[at]!.outputs)
      // What a comparison asks of every bank is of none of their domains.
      if (wish === undefined) continue
      const { resolved, feeds } = group
      const { outputs } = results[at]!
      needs.drift?.offer(model, {
        resolved, feeds, rows, outputs, sender: watchedAs(wish), isChosen: chosenRows(group)
      })
    }
    return results
  } catch (error) {
    for (const group of groups) {
      needs.metrics.countInference(name, group.resolved.record.domain, group.rows, 'error')
      needs.traffic.countFailed(keyOf(group), performance.now() - begin)
    }
    throw error
  }
}

/** Of parts that ran side by side: the longest wait, and all of the work. */
export function timesTogether (
  parts: ReadonlyArray<Pick<InferenceResult, 'queueMs' | 'inferMs' | 'runs'>>
): Pick<InferenceResult, 'queueMs' | 'inferMs' | 'runs'> {
  return {
    queueMs: Math.max(...parts.map(({ queueMs }) => queueMs)),
    inferMs: parts.reduce((sum, { inferMs }) => sum + inferMs, 0),
    runs: parts.flatMap(({ runs }) => runs)
  }
}

async function runGroups (
  needs: Pick<InferenceNeeds, 'pool' | 'runRows' | 'runBytes'>, model: ReadyModel,
  groups: readonly Group[], banks: readonly FoldedBank[], signal?: AbortSignal
): Promise<InferenceResult[]> {
  const jobs = groups.map((group, at) => jobsOf(model, group, banks[at]!, needs))
  const results = await needs.pool.submit(jobs.flat(), signal)
  let first = 0
  return groups.map(({ resolved }, at) => {
    const own = results.slice(first, first += jobs[at]!.length)
    const { record, version } = resolved
    return {
      domain: nameOfChosen(resolved),
      version: version.version,
      digest: digestOfChosen(resolved),
      countedAs: leaseKey(model.entry.manifest.name, record.domain, version.version),
      outputs: own.length === 1 ? own[0]!.outputs : concatenateRows(own.map(({ outputs }) => outputs)),
      queueMs: Math.max(...own.map(({ queueMs }) => queueMs)),
      inferMs: own.reduce((sum, { inferMs }) => sum + inferMs, 0),
      runs: own.map(({ outputs, ...run }, part) => ({ rows: jobs[at]![part]!.rows, ...run }))
    }
  })
}

/**
 * The group in parts of at most `runRows` rows, and no more than a run has memory for; in one where rows depend on each
 * other.
 */
function jobsOf (
  model: ReadyModel, { resolved, feeds, rows }: Group, bank: FoldedBank,
  { runRows, runBytes }: Pick<InferenceNeeds, 'runRows' | 'runBytes'>
): Job[] {
  const { artefact, served, entry, memory } = model
  const key = bankKey(model, digestOfChosen(resolved))
  const isDivisible = artefact.proof.isRowInvariant
  const fitting = Math.floor(memory.bytesMax(runBytes) / Math.max(memory.rowBytes(feeds), 1))
  const partRows = isDivisible ? Math.min(runRows, fitting) : rows
  const keeps = memory.keepsOf(feeds)
  const jobs: Job[] = []
  for (let first = 0; first < rows; first += partRows) {
    const count = Math.min(partRows, rows - first)
    jobs.push({
      turnOf: turnOf(entry.manifest.name, resolved.record.domain),
      model: served,
      bankKey: key,
      bank,
      rows: count,
      feeds: count === rows ? feeds : sliceRows(feeds, first, count),
      wanted: artefact.outputs.map(({ name }) => name),
      runKey: isDivisible && fitting >= runRows ? `${key}|${shapeKey(feeds)}` : undefined,
      keeps
    })
  }
  return jobs
}
