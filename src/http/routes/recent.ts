/** The last hour, as the process remembers it: traffic of domains, latency by stage, calls of the admin API. */
import { Type, type Static } from '#typebox'
import { SLOT_MS, SLOTS } from '../../observability/recent-traffic.js'
import { STAGES } from '../../observability/stages.js'
import { errorsOf, NameParameter } from '../schemas.js'
import type { App } from '../app-type.js'
import type { RecentCall } from '../audit.js'
import type { Engine } from '../../engine.js'
import type { RecentCounts } from '../../observability/recent-traffic.js'
import type { Metrics } from '../../observability/metrics.js'
import type { DomainRecord } from '../../store/bank-store.js'

/** A quarter of an hour, for the list of all domains. */
const LISTED_SLOTS = SLOTS / 4

const SLOT_SECONDS = SLOT_MS / 1000

const countsShape = {
  requests: Type.Integer({ description: 'In the last hour, failed ones too' }),
  failures: Type.Integer(),
  perSecond: Type.Number({ description: 'Over the last minute' }),
  p50Ms: Type.Optional(Type.Number({ description: 'Of the last quarter of an hour: reading, waiting, running' })),
  p99Ms: Type.Optional(Type.Number())
}
const Series = Type.Array(Type.Integer(), { description: 'Requests by slot; the last one has not ended' })
const SlotSeconds = Type.Number({ description: 'Time of a slot' })
const Residence = Type.Optional(Type.Integer({ description: 'Bytes of the active version\'s bank in memory' }))

const WatchesDrift = Type.Boolean({ description: 'Whether drift is looked for' })
const Glance = Type.Optional(Type.Object({
  state: Type.Union([Type.Literal('notEnoughSeen'), Type.Literal('steady'), Type.Literal('drifting')]),
  pictures: Type.Integer({ description: 'Looked at' }),
  eValue: Type.Optional(Type.Number({ description: '1 or less on average while there is no drift' }))
}, { description: 'Drift from the active version; absent before its first picture' }))

const TrafficSchema = Type.Object({
  slotSeconds: SlotSeconds,
  watchesDrift: WatchesDrift,
  domains: Type.Array(Type.Object({
    domain: Type.String(),
    residentBytes: Residence,
    drift: Glance,
    recent: Type.Optional(Type.Object({ ...countsShape, series: Series }))
  }), { description: 'Those that were asked in this process, or are in memory' })
}, { title: 'Traffic' })

const DomainTrafficSchema = Type.Object({
  slotSeconds: SlotSeconds,
  watchesDrift: WatchesDrift,
  residentBytes: Residence,
  drift: Glance,
  recent: Type.Optional(Type.Object({ ...countsShape, series: Series })),
  versions: Type.Array(Type.Object({ version: Type.Integer(), ...countsShape }))
}, { title: 'DomainTraffic' })

const Milliseconds = Type.Array(Type.Union([Type.Number(), Type.Null()]), {
  description: 'In ms, by slot; null where there was nothing'
})

const HistorySchema = Type.Object({
  slotSeconds: SlotSeconds,
  present: Type.Record(Type.String(), Type.Number(), { description: 'Gauges as they are now' }),
  limits: Type.Record(Type.String(), Type.Number(), { description: 'The bounds of some of them' }),
  requests: Series,
  stages: Type.Record(Type.String(), Type.Object({ p50Ms: Milliseconds, p99Ms: Milliseconds })),
  gauges: Type.Record(Type.String(), Type.Array(Type.Union([Type.Number(), Type.Null()])), {
    description: 'The highest value in each slot'
  })
}, { title: 'History' })

const CallSchema = Type.Object({
  time: Type.String(),
  requestId: Type.String(),
  address: Type.String(),
  keyId: Type.Optional(Type.String()),
  method: Type.String(),
  path: Type.String(),
  model: Type.Optional(Type.String()),
  domain: Type.Optional(Type.String()),
  version: Type.Optional(Type.Union([Type.Integer(), Type.String()])),
  status: Type.Integer(),
  outcome: Type.String({ description: 'The code of the error, or ok' })
}, { title: 'AdminCall' })

const ModelParams = Type.Object({ model: NameParameter })
const DomainParams = Type.Object({ model: NameParameter, domain: NameParameter })

export interface RecentNeeds {
  engine: Engine
  metrics: Pick<Metrics, 'history'>
  /** Bounds of what the history has, by its names. */
  limits: Readonly<Record<string, number>>
  calls: () => readonly RecentCall[]
}

export function registerRecentRoutes (app: App, needs: RecentNeeds): void {
  registerTraffic(app, needs.engine)
  registerHistory(app, needs)
}

function registerTraffic (app: App, engine: Engine): void {
  app.get('/v1/models/:model/traffic', {
    config: { access: 'listing' },
    schema: {
      tags: ['domains'],
      summary: 'What the domains of a model were asked lately',
      description: 'Since the process began; a quarter of an hour by slots.',
      params: ModelParams,
      response: { 200: TrafficSchema, ...errorsOf(400, 404) }
    }
  }, async ({ params: { model } }) => ({
    slotSeconds: SLOT_SECONDS,
    watchesDrift: engine.watching !== undefined,
    domains: engine.domains(model).flatMap((record) => {
      const { domain } = record
      const known = trafficOf(engine, model, record, LISTED_SLOTS)
      return Object.keys(known).length === 0 ? [] : [{ domain, ...known }]
    })
  }))

  app.get('/v1/models/:model/domains/:domain/traffic', {
    config: { access: 'listing' },
    schema: {
      tags: ['domains'],
      summary: 'What a domain and its versions were asked lately',
      description: 'Since the process began; an hour by slots.',
      params: DomainParams,
      response: { 200: DomainTrafficSchema, ...errorsOf(400, 404) }
    }
  }, async ({ params: { model, domain } }) => {
    const record = engine.domain(model, domain)
    return {
      slotSeconds: SLOT_SECONDS,
      watchesDrift: engine.watching !== undefined,
      ...trafficOf(engine, model, record, SLOTS),
      versions: record.versions.flatMap(({ version }) => {
        const recent = engine.answering.recentTraffic(model, domain, [version], 0)
        return recent === undefined ? [] : [{ version, ...rounded(recent) }]
      })
    }
  })
}

function trafficOf (engine: Engine, model: string, record: DomainRecord, slots: number) {
  const { domain, versions } = record
  const active = versions.find(({ version }) => version === record.active)
  const residentBytes = active === undefined ? undefined : engine.residentBytes(model, active)
  const drift = active === undefined ? undefined : engine.watching?.glance(model, domain, active.version)
  const recent = engine.answering.recentTraffic(model, domain, versions.map(({ version }) => version), slots)
  return {
    ...(residentBytes === undefined ? {} : { residentBytes }),
    ...(drift === undefined ? {} : { drift }),
    ...(recent === undefined ? {} : { recent: { ...rounded(recent), series: recent.series } })
  }
}

function rounded ({ requests, failures, perSecond, p50Ms, p99Ms }: RecentCounts) {
  const round = (value: number) => Number(value.toPrecision(3))
  return {
    requests,
    failures,
    perSecond: round(perSecond),
    ...(p50Ms === undefined ? {} : { p50Ms: round(p50Ms), p99Ms: round(p99Ms!) })
  }
}

function registerHistory (app: App, { metrics: { history }, limits, calls }: RecentNeeds): void {
  app.get('/metrics/history', {
    config: { access: 'metrics' },
    schema: {
      tags: ['operations'],
      summary: 'The last hour of the service: latency by stage, queue, threads, memory',
      response: { 200: HistorySchema }
    },
    logLevel: 'silent'
  }, async (): Promise<Static<typeof HistorySchema>> => ({
    slotSeconds: SLOT_SECONDS,
    present: history.present,
    limits,
    requests: history.requests,
    stages: Object.fromEntries(STAGES.map((stage) => [stage, history.stage(stage)])),
    gauges: history.gauges
  }))

  app.get('/admin/calls', {
    config: { access: 'administration' },
    schema: {
      tags: ['operations'],
      summary: 'The last admin calls that changed something or were refused, newest first',
      description: 'Since the process began; the audit log has all.',
      response: { 200: Type.Object({ calls: Type.Array(CallSchema) }), ...errorsOf(401) }
    }
  }, async () => ({ calls: [...calls()] }))
}
