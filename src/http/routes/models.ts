/** What there is: models, their domains, and versions. */
import { Type } from '#typebox'
import { NAME_PATTERN } from '../../base/names.js'
import { DomainSchema, errorsOf, ModelSchema, NameParameter } from '../schemas.js'
import { takesPictures } from '../../models/manifest.js'
import type { App } from '../app-type.js'
import type { Engine } from '../../engine.js'
import type { ModelState, ReadyModel } from '../../serving/model-states.js'
import type { DomainRecord } from '../../store/bank-store.js'
import type { Static } from '#typebox'

const ModelParams = Type.Object({ model: Type.String({ pattern: NAME_PATTERN }) })

export function registerModelRoutes (app: App, engine: Engine): void {
  app.get('/v1/models', {
    config: { access: 'listing' },
    schema: {
      tags: ['models'], summary: 'All models', response: { 200: Type.Object({ models: Type.Array(ModelSchema) }) }
    }
  }, async () => ({ models: engine.models().map((model) => describeModel(engine, model)) }))

  app.get('/v1/models/:model', {
    config: { access: 'listing' },
    schema: {
      tags: ['models'],
      summary: 'One model',
      params: ModelParams,
      response: { 200: ModelSchema, ...errorsOf(400, 404) }
    }
  }, async ({ params: { model } }) => describeModel(engine, engine.model(model)))

  app.get('/v1/models/:model/domains', {
    config: { access: 'listing' },
    schema: {
      tags: ['domains'],
      summary: 'All domains of a model',
      params: ModelParams,
      response: { 200: Type.Object({ domains: Type.Array(DomainSchema) }), ...errorsOf(400, 404) }
    }
  }, async ({ params: { model } }) => {
    const { entry: { manifest: { defaultDomain } } } = engine.model(model)
    return { domains: engine.domains(model).map((record) => describeDomain(record, defaultDomain)) }
  })

  app.get('/v1/models/:model/domains/:domain', {
    config: { access: 'listing' },
    schema: {
      tags: ['domains'],
      summary: 'One domain with its versions',
      params: Type.Object({ model: NameParameter, domain: NameParameter }),
      response: { 200: DomainSchema, ...errorsOf(400, 404) }
    }
  }, async ({ params: { model, domain } }, reply) => {
    const record = await engine.domainNow(model, domain)
    reply.header('etag', etagOf(record))
    return describeDomain(record, engine.model(model).entry.manifest.defaultDomain)
  })
}

export function etagOf ({ revision }: DomainRecord): string {
  return `"${revision}"`
}

export function describeDomain (record: DomainRecord, defaultDomain: string): Static<typeof DomainSchema> {
  const { domain, description, active, revision, versions, labels, canary, shadow, gate } = record
  return {
    domain,
    ...(description === undefined ? {} : { description }),
    active,
    revision,
    default: domain === defaultDomain,
    ...(labels === undefined ? {} : { labels }),
    ...(canary === undefined ? {} : { canary }),
    ...(shadow === undefined ? {} : { shadow }),
    ...(gate === undefined ? {} : { gate }),
    versions: versions.map(({ version, digest, fingerprint, source, bytes, preprocessing, createdAt }) => {
      const rules = preprocessing === undefined ? {} : { preprocessing }
      return { version, digest, fingerprint, source, bytes, ...rules, createdAt, active: version === active }
    })
  }
}

function describeModel (engine: Engine, model: ModelState): Static<typeof ModelSchema> {
  const { manifest } = model.entry
  const { name, title, description, licence, task, defaultDomain } = manifest
  return {
    name,
    title,
    ...(description === undefined ? {} : { description }),
    ...(licence === undefined ? {} : { licence }),
    task,
    state: model.state,
    defaultDomain,
    domains: engine.domains(name).map(({ domain }) => domain),
    ...(takesPictures(manifest) ? { input: manifest.input, output: manifest.output } : { inputs: manifest.inputs }),
    ...(manifest.task === 'classification' ? { labels: model.entry.labels.length } : {}),
    ...(manifest.task === 'image-to-image' ? { tiling: manifest.tiling } : {}),
    ...('domainFrom' in manifest ? { domainFrom: manifest.domainFrom } : {}),
    ...(model.state === 'ready'
      ? { compiled: describeCompiled(model, engine.runBytes), hot: engine.hotVersions(name) }
      : {})
  }
}

function describeCompiled ({ artefact, memory }: ReadyModel, runBytes: number) {
  const { fingerprint, sites, layers, layout, weightBytes, proof } = artefact
  return {
    fingerprint,
    batchNorms: sites.length,
    layers: layers.map(({ key, channels, epsilon }) => ({ key, channels, epsilon })),
    bytesPerDomain: layout.length * Float32Array.BYTES_PER_ELEMENT,
    weightBytes,
    maxRelativeError: proof.maxRelativeError,
    runBytes: artefact.runBytes,
    rowElementsMax: memory.rowElementsMax(runBytes)
  }
}
