/** Open Inference Protocol v2: what the server and its models are, whether they are well, and how they fare. */
import { Type } from '#typebox'
import {
  describeConfiguration, describeMetadata, describeStatistics, EXTENSIONS
} from '../open-inference/describe.js'
import { modelOf, wishInPath } from '../request-domain.js'
import {
  MetadataSchema, ModelConfigurationSchema, ServerMetadataSchema, StatisticsSchema
} from '../open-inference/schemas.js'
import { errorsOf, ModelParameter, VersionText } from '../schemas.js'
import { liveness, readiness, type ReadinessLimits } from './operations.js'
import type { App } from '../app-type.js'
import type { BodyBudget } from '../limits/body-budget.js'
import type { Engine } from '../../engine.js'
import type { DomainRecord } from '../../store/bank-store.js'

const tags = ['open inference protocol']
const Params = Type.Object({ model: ModelParameter })
const VersionParams = Type.Object({ model: ModelParameter, version: VersionText })

interface PathParams {
  model: string
  version?: string
}

export function registerOpenInferenceRoutes (
  app: App, engine: Engine, bodies: BodyBudget, limits: ReadinessLimits, version: string
): void {
  registerServerRoutes(app, engine, bodies, limits, version)
  registerModelRoutes(app, engine)
  registerStatisticsRoutes(app, engine)
}

function registerServerRoutes (
  app: App, engine: Engine, bodies: BodyBudget, limits: ReadinessLimits, version: string
): void {
  const metadata = async () => ({ name: 'bankswitch', version, extensions: EXTENSIONS })
  const response = { 200: ServerMetadataSchema }
  const config = { access: 'documents' } as const
  app.get('/v2', { config, schema: { tags, summary: 'The server', response } }, metadata)
  app.get('/v2/', { config, schema: { hide: true, response } }, metadata)

  app.get('/v2/health/live', {
    config: { access: 'health' },
    schema: {
      tags,
      summary: 'Is the process alive, and not beyond help but a restart',
      response: { 200: Type.Object({ live: Type.Boolean() }), ...errorsOf(503) }
    },
    logLevel: 'silent'
  }, async () => liveness(engine))

  app.get('/v2/health/ready', {
    config: { access: 'health' },
    schema: {
      tags,
      summary: 'Is every model ready, and room for bodies',
      response: { 200: Type.Object({ live: Type.Boolean(), ready: Type.Boolean() }), ...errorsOf(503) }
    },
    logLevel: 'silent'
  }, async () => ({ live: true, ...readiness(engine, bodies, limits) }))

  app.get('/v2/models', {
    config: { access: 'listing' },
    schema: {
      tags, summary: 'Names of all models', response: { 200: Type.Object({ models: Type.Array(Type.String()) }) }
    }
  }, async () => ({ models: engine.models().map(({ entry }) => entry.manifest.name) }))
}

function registerModelRoutes (app: App, engine: Engine): void {
  const metadata = async ({ params }: { params: PathParams }) => {
    const { record, model } = await resolvePath(engine, params)
    return describeMetadata(params.model, record.versions.map(({ version }) => version), engine.readyModel(model))
  }
  const ready = async ({ params }: { params: PathParams }) => {
    engine.readyModel((await resolvePath(engine, params)).model)
    return { name: params.model, ready: true }
  }
  const configuration = async ({ params }: { params: PathParams }) => {
    const { model } = await resolvePath(engine, params)
    return describeConfiguration(params.model, engine.readyModel(model), engine.rowsMax)
  }
  const Ready = Type.Object({ name: Type.String(), ready: Type.Boolean() })
  const refusals = errorsOf(400, 404, 409, 503)
  const routes = [
    ['', 'Tensors and versions', MetadataSchema, metadata],
    ['/ready', 'Can it answer', Ready, ready],
    ['/config', 'Configuration as Triton writes it', ModelConfigurationSchema, configuration]
  ] as const
  for (const [path, summary, schema, handler] of routes) {
    const response = { 200: schema, ...refusals }
    app.get(`/v2/models/:model${path}`, {
      config: { access: 'listing' },
      schema: { tags, summary, params: Params, response }
    }, handler)
    app.get(`/v2/models/:model/versions/:version${path}`, {
      config: { access: 'listing' },
      schema: { tags, summary: `${summary}, of one version`, params: VersionParams, response }
    }, handler)
  }
}

function registerStatisticsRoutes (app: App, engine: Engine): void {
  const response = { 200: StatisticsSchema, ...errorsOf(400, 404, 409) }
  app.get('/v2/models/stats', {
    config: { access: 'listing' },
    schema: { tags, summary: 'Statistics of all models and domains', response }
  }, async () => ({
    model_stats: engine.models().flatMap(({ entry: { manifest: { name } } }) => [
      statisticsOf(engine, name, name, engine.domains(name)),
      ...engine.domains(name).map((record) => statisticsOf(engine, name, `${name}@${record.domain}`, [record]))
    ])
  }))

  app.get('/v2/models/:model/stats', {
    config: { access: 'listing' },
    schema: { tags, summary: 'Statistics of a model, or of each version of model@domain', params: Params, response }
  }, async ({ params }) => {
    const model = modelOf(params.model)
    if (wishInPath(params.model).path === undefined) {
      return { model_stats: [statisticsOf(engine, model, model, engine.domains(model))] }
    }
    const { record } = await resolvePath(engine, params)
    const all = record.versions.map(({ version }) => versionStatistics(engine, params.model, record, version))
    return { model_stats: all }
  })

  app.get('/v2/models/:model/versions/:version/stats', {
    config: { access: 'listing' },
    schema: { tags, summary: 'Statistics of one version', params: VersionParams, response }
  }, async ({ params }) => {
    const { record, version } = await resolvePath(engine, params)
    return { model_stats: [versionStatistics(engine, params.model, record, version)] }
  })
}

/** Throws MODEL_NOT_FOUND, DOMAIN_REFERENCE_INVALID and what resolving throws. */
async function resolvePath (engine: Engine, { model: path, version }: PathParams) {
  const model = modelOf(path)
  const resolved = await engine.answering.resolveNow(model, wishInPath(path, version))
  return { model, record: resolved.record, version: resolved.version.version }
}

/** All versions of the domains together, under the first domain's active one: a model has no version of its own. */
function statisticsOf (engine: Engine, model: string, name: string, records: readonly DomainRecord[]) {
  const { entry: { manifest: { defaultDomain } } } = engine.model(model)
  const shown = records.find(({ domain }) => domain === defaultDomain) ?? records[0]
  const all = records.flatMap(({ domain, versions }) => {
    return versions.map(({ version }) => engine.answering.traffic(model, domain, version))
  })
  return describeStatistics(name, String(shown?.active ?? ''), all)
}

function versionStatistics (engine: Engine, path: string, { domain }: DomainRecord, version: number) {
  return describeStatistics(path, String(version), [engine.answering.traffic(modelOf(path), domain, version)])
}
