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

/**
 * The same for text that may stand for the numbers and booleans of the schema: it becomes those, in place, and they are
 * checked like any other value. Of itself the coercion takes "1e999" for a number, which is infinite.
 */
export function checkOfText<T> (schema: object, options?: SchemaOptions): SchemaCheck<T> {
  const steps = [checkOf<T>(schema, { ...options, coerceTypes: true }), checkOf<T>(schema, options)]
  let failed: SchemaCheck<T> | undefined
  const check = (value: unknown): value is T => {
    failed = steps.find((step) => !step(value))
    return failed === undefined
  }
  return Object.defineProperty(check, 'errors', { get: () => failed?.errors ?? [] }) as SchemaCheck<T>
}
