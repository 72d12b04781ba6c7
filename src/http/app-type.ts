import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify'
import type { IncomingMessage, ServerResponse } from 'node:http'

declare module 'fastify' {
  /** What the OpenAPI document takes from a route's schema. */
  interface FastifySchema {
    hide?: boolean
    tags?: string[]
    summary?: string
    description?: string
    consumes?: string[]
    produces?: string[]
    security?: Array<Record<string, string[]>>
  }
}

/** A Fastify instance whose handlers know their schemas. */
export type App = FastifyInstance<
  RawServerDefault, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider
>
