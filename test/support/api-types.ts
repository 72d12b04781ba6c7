/**
 * TypeScript of an OpenAPI document: a schema with a title becomes an interface of that name, and all routes one table,
 * `Routes`, of what each is given and answers. It knows the parts of JSON Schema that the server's document has, and
 * fails for others rather than leave them out.
 */
import assert from 'node:assert/strict'

interface Schema {
  title?: string
  description?: string
  type?: string
  format?: string
  enum?: readonly unknown[]
  anyOf?: readonly Schema[]
  allOf?: readonly Schema[]
  items?: Schema
  properties?: Readonly<Record<string, Schema>>
  required?: readonly string[]
  additionalProperties?: Schema | boolean
  default?: unknown
}

interface Content {
  content?: Readonly<Record<string, { schema: Schema }>>
}

interface Operation {
  summary: string
  parameters?: ReadonlyArray<{ in: string, name: string, required: boolean, description?: string, schema: Schema }>
  requestBody?: Content
  responses: Readonly<Record<string, Content>>
}

export interface OpenApiDocument {
  paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

/** A line may get as long as this with an object in it. */
const LINE = 120

interface Member {
  name: string
  type: string
  isOptional: boolean
  description?: string | undefined
}

/** The whole file. Fails for a title that two different schemas have. */
export function typesOf ({ paths }: OpenApiDocument): string {
  const types = new ApiTypes()
  const routes = Object.entries(paths).flatMap(([path, operations]) => Object.entries(operations).map(([method, operation]) => ({
    name: `'${method.toUpperCase()} ${path}'`, type: types.route(operation), isOptional: false, description: operation.summary
  })))
  const named = [...types.named].toSorted(([a], [b]) => a < b ? -1 : 1)
  return [
    '/** Generated from the OpenAPI document of a server: `UPDATE_DOCUMENTS=1 npm test` writes it. */',
    '',
    'export type Bytes = Uint8Array',
    ...named.map(([name, text]) => `\nexport interface ${name} ${text}`),
    '',
    '/** By method and path: what is given, and what comes back. */',
    `export interface Routes ${objectOf(routes, '', true)}`,
    ''
  ].join('\n')
}

class ApiTypes {
  readonly named = new Map<string, string>()

  route ({ parameters = [], requestBody, responses }: Operation): string {
    const members = (['path', 'query', 'header'] as const).flatMap((place) => {
      const those = parameters.filter((parameter) => parameter.in === place)
      if (those.length === 0) return []
      const inner = those.map(({ name, required, description, schema }): Member => ({
        name, type: this.#type(schema, true, '      '), isOptional: !required || 'default' in schema, description
      }))
      return [{ name: place, type: objectOf(inner, '    ', false, true), isOptional: inner.every(({ isOptional }) => isOptional) }]
    })
    const body = requestBody === undefined ? [] : [{ name: 'body', type: this.#content(requestBody, true), isOptional: false }]
    const answers = Object.entries(responses).map(([status, response]) => [status, this.#content(response, false)] as const)
    const [, answer] = answers.find(([status]) => status.startsWith('2'))!
    return objectOf([...members, ...body, { name: 'answer', type: answer, isOptional: false }], '  ', true)
  }

  /** All that may be sent; of an answer the JSON, where others are besides it. */
  #content ({ content }: Content, isGiven: boolean): string {
    if (content === undefined) return 'unknown'
    const schemas = 'application/json' in content && !isGiven ? [content['application/json']] : Object.values(content)
    const all = new Set(schemas.map((one) => this.#type(one!.schema, isGiven, '    ')))
    return [...all].join(' | ')
  }

  #type (schema: Schema, isGiven: boolean, indent: string): string {
    const { title, type, format, anyOf, allOf, items, additionalProperties, properties } = schema
    if (title !== undefined && properties !== undefined) return this.#name(title, this.#object(schema, isGiven, ''))
    if (schema.enum !== undefined) return schema.enum.map((value) => `'${String(value)}'`).join(' | ')
    if (anyOf !== undefined) return anyOf.map((one) => this.#type(one, isGiven, indent)).join(' | ')
    if (allOf !== undefined) return allOf.map((one) => this.#type(one, isGiven, indent)).join(' & ')
    switch (type) {
      case undefined: return 'unknown'
      case 'string': return format === 'binary' ? 'Bytes' : 'string'
      case 'integer': return 'number'
      case 'number': case 'boolean': case 'null': return type
      case 'array': {
        const element = this.#type(items!, isGiven, indent)
        return element.includes(' ') ? `Array<${element}>` : `${element}[]`
      }
    }
    assert.equal(type, 'object')
    if (properties !== undefined) return this.#object(schema, isGiven, indent)
    assert(typeof additionalProperties === 'object')
    return `Record<string, ${this.#type(additionalProperties, isGiven, indent)}>`
  }

  #object ({ properties = {}, required = [] }: Schema, isGiven: boolean, indent: string): string {
    const members = Object.entries(properties).map(([name, schema]): Member => ({
      name,
      type: this.#type(schema, isGiven, `${indent}  `),
      isOptional: !required.includes(name) || (isGiven && 'default' in schema),
      description: schema.description
    }))
    return objectOf(members, indent, false, isGiven)
  }

  #name (title: string, text: string): string {
    assert.equal(this.named.get(title) ?? text, text, `two schemas are called ${title}`)
    this.named.set(title, text)
    return title
  }
}

/** Given, a member that may be left out may be undefined too. */
function objectOf (members: readonly Member[], indent: string, isLong: boolean, isGiven = false): string {
  const texts = members.map(({ name, type, isOptional }) => {
    const key = /^(\w+|'.*')$/.test(name) ? name : `'${name}'`
    return `${key}${isOptional ? '?' : ''}: ${type}${isOptional && isGiven ? ' | undefined' : ''}`
  })
  const line = `{ ${texts.join(', ')} }`
  const isShort = !isLong && indent.length + line.length < LINE / 2 && members.every(({ description }) => description === undefined)
  if (isShort && !line.includes('\n')) return line
  const lines = members.flatMap(({ description }, at) => [
    ...description === undefined ? [] : [`${indent}  /** ${description.replaceAll('*/', '* /')} */`], `${indent}  ${texts[at]}`
  ])
  return ['{', ...lines, `${indent}}`].join('\n')
}
