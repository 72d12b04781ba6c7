/** From a schema of this project to a check. */
import { Ajv, type ErrorObject, type Options, type ValidateFunction } from 'ajv'

export type SchemaOptions = Options

/** Tells whether a value is of a schema, and of the last one what was wrong with it. */
export interface SchemaCheck<T> {
  (value: unknown): value is T
  readonly errors: ErrorObject[]
}

/**
 * A schema of this project as a check, compiled at its first use: most processes and threads use few of those that they
 * load. It is not compared with the meta-schema of JSON Schema, which would have to be compiled for that.
 */
export function checkOf<T> (schema: object, options?: SchemaOptions): SchemaCheck<T> {
  let validate: ValidateFunction<T> | undefined
  const check = (value: unknown): value is T => {
    validate ??= new Ajv({ ...options, meta: false, validateSchema: false }).compile<T>(schema)
    return validate(value)
  }
  return Object.defineProperty(check, 'errors', { get: () => validate?.errors ?? [] }) as SchemaCheck<T>
}
