import { defineErrors } from '../base/errors.js'

export const compilerErrors = defineErrors({
  COMPILE_NO_BATCH_NORM: 'unsupported',
  COMPILE_BATCH_NORM_TRAINING: 'unsupported',
  COMPILE_BATCH_NORM_DYNAMIC: 'unsupported',
  COMPILE_BATCH_NORM_NESTED: 'unsupported',
  COMPILE_BATCH_NORM_SPATIAL: 'unsupported',
  COMPILE_BATCH_NORM_MALFORMED: 'invalid',
  COMPILE_BATCH_NORM_CHANNELS: 'unsupported',
  COMPILE_BATCH_NORM_TYPE: 'unsupported',
  COMPILE_INPUT_SHAPE_UNKNOWN: 'invalid',
  COMPILE_REFERENCE_MISMATCH: 'invalid',
  COMPILE_SOURCE_CHANGED: 'unsupported',
  COMPILE_NOTHING_TO_INSERT: 'unsupported',
  COMPILE_PROOF_FAILED: 'unsupported',
  COMPILE_PASS_BROKEN: 'internal',
  COMPILE_CRASHED: 'internal'
})
