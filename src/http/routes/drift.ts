/** Whether pictures are still those of a domain, and what became of pictures that fit none. */
import { Type } from '#typebox'
import { DriftSchema, errorsOf, NameParameter } from '../schemas.js'
import { noteSubject } from '../request-record.js'
import type { App } from '../app-type.js'
import type { Engine } from '../../engine.js'

const DriftCandidateSchema = Type.Object({
  domain: Type.String({ description: 'The new domain' }),
  version: Type.Integer({ description: 'Stored, and not activated by itself' }),
  stream: Type.String({ description: 'Whose pictures fitted no domain; empty where none was named' }),
  images: Type.Integer({ description: 'Pictures that it was made of' }),
  base: Type.Object({ domain: Type.String(), version: Type.Integer() }, {
    description: 'What answers the stream, gave gamma and beta, and is compared with'
  }),
  comparedRows: Type.Integer({ description: 'Pictures of the stream that both have run since' }),
  disagreeingRows: Type.Integer({ description: 'Pictures with another best class' }),
  notFiniteRows: Type.Integer(),
  largestRelativeDifference: Type.Number({ description: 'Relative to the largest magnitude of the row' }),
  isActive: Type.Boolean({ description: 'Whether somebody has activated it' }),
  since: Type.String()
}, { title: 'DriftCandidate' })

const LeftCandidateSchema = Type.Object({
  domain: Type.String(),
  version: Type.Integer(),
  description: Type.String({ description: 'Of the domain: whose pictures, how many, and under which version' }),
  since: Type.String()
}, { title: 'LeftCandidate' })

export function registerDriftRoutes (app: App, engine: Engine): void {
  app.get('/v1/models/:model/domains/:domain/drift', {
    config: { access: 'listing' },
    schema: {
      tags: ['domains'],
      summary: 'Whether pictures are still those of the domain',
      params: Type.Object({ model: NameParameter, domain: NameParameter }),
      response: { 200: DriftSchema, ...errorsOf(400, 404, 409, 503) }
    }
  }, async (request) => {
    const { model, domain } = request.params
    noteSubject(request, { model, domain })
    const { since, lastAlarmAt, driftingSince, ...report } = await engine.drift(model, domain)
    return {
      model,
      domain,
      ...report,
      ...timed('since', since),
      ...timed('lastAlarmAt', lastAlarmAt),
      ...timed('driftingSince', driftingSince)
    }
  })

  app.get('/admin/models/:model/candidates', {
    config: { access: 'administration' },
    schema: {
      tags: ['admin'],
      summary: 'New domains made of pictures that fitted none, and what they would change',
      params: Type.Object({ model: NameParameter }),
      response: {
        200: Type.Object({
          candidates: Type.Array(DriftCandidateSchema),
          left: Type.Array(LeftCandidateSchema, {
            description: 'What else nobody has decided about: of streams that this process does not follow'
          })
        }),
        ...errorsOf(400, 401, 404, 409)
      }
    }
  }, async (request) => {
    const { model } = request.params
    noteSubject(request, { model })
    const { candidates, left } = engine.candidates(model)
    return { candidates: candidates.map(({ model: _model, ...report }) => report), left }
  })
}

function timed<Name extends string> (name: Name, at: number | undefined): Partial<Record<Name, string>> {
  return at === undefined ? {} : { [name]: new Date(at).toISOString() } as Record<Name, string>
}
