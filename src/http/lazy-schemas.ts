/**
 * What Fastify makes of the schemas of a route, made at the first request that needs it: there are some five hundred,
 * most of which a server never uses.
 */
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import { checkOf, checkOfText, type SchemaCheck, type SchemaOptions } from '../base/json-schema.js'
import { isRawBody } from './schemas.js'
import type { App } from './app-type.js'

type ValidatorCompiler = Parameters<App['setValidatorCompiler']>[0]
type SerializerFactory = ReturnType<typeof SerializerSelector>

const COMMON: SchemaOptions = { allErrors: false, useDefaults: true, removeAdditional: false, strictSchema: false }

/**
 * Bodies are taken as they are; path, query and headers are text that may stand for numbers and booleans. A body whose
 * schema is marked as raw is documented by it, but reaches the handler as bytes.
 */
export const validatorOf: ValidatorCompiler = ({ schema, httpPart }) => {
  if (httpPart === 'body' && isRawBody(schema)) return () => true
  const check: SchemaCheck<unknown> = (httpPart === 'body' ? checkOf : checkOfText)(schema as object, COMMON)
  return check
}

/** Fastify's own serializers, later. */
export const serializerFactory: SerializerFactory = (shared, options) => {
  const make = SerializerSelector()(shared, options)
  return (route) => {
    let serialize: ReturnType<typeof make> | undefined
    return (answer) => (serialize ??= make(route))(answer)
  }
}
