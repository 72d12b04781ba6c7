/** Schemas of routes as the OpenAPI document has them, where that is not what requests are checked by. */
import { BinaryBody } from './schemas.js'
import type { FastifySchema } from 'fastify'
import type { TObject } from '#typebox'

const JSON_TYPE = 'application/json'

/** The schema of a route, to be documented; some have none. */
export function asDocumented (schema: FastifySchema | undefined): FastifySchema {
  return schema === undefined ? {} : { ...schema, ...queryOf(schema), ...answersOf(schema) }
}

/** A field of the query that has a default is required of nobody: it is filled in before the query is checked. */
function queryOf ({ querystring }: FastifySchema): Pick<FastifySchema, 'querystring'> {
  const query = querystring as TObject | undefined
  if (query?.required === undefined) return {}
  const required = query.required.filter((name) => !('default' in query.properties[name]!))
  return { querystring: { ...query, required } }
}

/** Of a route that answers pictures too: each type by what it is, and errors as JSON only. */
function answersOf ({ produces = [], response }: FastifySchema): Pick<FastifySchema, 'response'> {
  if (response === undefined || !produces.some(isPicture)) return {}
  const answers = Object.entries(response as Record<string, { description?: string }>).map(([status, schema]) => {
    const types = status.startsWith('2') ? produces : [JSON_TYPE]
    const { description = 'Default Response' } = schema
    const content = types.map((type) => [type, { schema: isPicture(type) ? BinaryBody : schema }])
    return [status, { description, content: Object.fromEntries(content) }]
  })
  return { response: Object.fromEntries(answers) }
}

function isPicture (type: string): boolean {
  return type.startsWith('image/')
}
