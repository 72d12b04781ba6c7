/** From a schema of this project to a check. */
import { Ajv, type Options, type ValidateFunction } from 'ajv'

export type SchemaOptions = Options

/**
 * Compiles schemas that stand in this project's sources. They are not compared with the meta-schema of JSON Schema,
 * which every compiler would first have to compile for itself: half the time that a command needs to start.
 */
export function schemaCompiler (options: SchemaOptions = {}): Ajv {
  return new Ajv({ ...options, meta: false, validateSchema: false })
}

/** One schema, as a check that tells its faults in `errors`. */
export function compileSchema<T> (schema: object, options?: SchemaOptions): ValidateFunction<T> {
  return schemaCompiler(options).compile<T>(schema)
}
