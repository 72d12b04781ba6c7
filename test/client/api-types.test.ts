/** The types of the TypeScript client are those of the server's own document. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { typesOf, type OpenApiDocument } from '../support/api-types.js'
import { bareApp } from '../support/bare-app.js'
import { assertDocument } from '../support/documents.js'

/** A document of one route that answers with `schema`. */
const documentOf = (schema: object, path = '/a'): OpenApiDocument => ({
  paths: { [path]: { get: { summary: 'One', responses: { 200: { content: { 'application/json': { schema } } } } } } }
})

describe('types of the API', () => {
  it('clients/typescript/src/generated/api.ts is the OpenAPI document', async () => {
    const { app, close } = await bareApp()
    try {
      assertDocument('clients/typescript/src/generated/api.ts', typesOf((await app.inject('/openapi.json')).json()))
    } finally {
      await close()
    }
  })

  it('names a schema by its title, and lets what has a default be left out of requests only', () => {
    const schema = { title: 'Thing', type: 'object', required: ['a'], properties: { a: { type: 'integer', default: 1 }, b: { type: 'boolean' } } }
    const given = { in: 'query', name: 'a-b', required: true, schema: { type: 'string', enum: ['x', 'y'], default: 'x' } }
    const { paths } = documentOf(schema)
    const { get } = paths['/a']!
    const text = typesOf({ paths: { '/a': { get: { ...get!, parameters: [given] } } } })
    assert.ok(text.includes('export interface Thing { a: number, b?: boolean }'), text)
    assert.ok(text.includes("query?: { 'a-b'?: 'x' | 'y' | undefined }"), text)
    assert.match(text, /'GET \/a': \{\n {4}query\?.*\n {4}answer: Thing\n/)
  })

  it('fails for two schemas of one title, and for what it does not know', () => {
    const [a, b] = ['string', 'integer'].map((type) => documentOf({ title: 'Thing', type: 'object', properties: { a: { type } } }, `/${type}`))
    assert.throws(() => typesOf({ paths: { ...a!.paths, ...b!.paths } }), /two schemas are called Thing/)
    assert.throws(() => typesOf(documentOf({ type: 'strange' })), /strange/)
    assert.throws(() => typesOf(documentOf({ type: 'object', additionalProperties: false })))
  })
})
