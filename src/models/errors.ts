import { defineErrors } from '../base/errors.js'

export const modelErrors = defineErrors({
  MANIFEST_INVALID: 'invalid',
  MODEL_FILE_UNREADABLE: 'corrupt',
  MODEL_NOT_FOUND: 'not-found',
  MODEL_NOT_READY: 'unavailable',
  MODEL_FAILED: 'unavailable',
  TASK_MISMATCH: 'invalid',
  PREPROCESSING_INVALID: 'invalid',
  OUTPUT_NOT_FINITE: 'invalid',
  SAMPLE_NOT_FOUND: 'not-found'
})
