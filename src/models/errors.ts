import { defineErrors } from '../base/errors.js'

export const modelErrors = defineErrors({
  MANIFEST_INVALID: 'invalid',
  MODEL_FILE_UNREADABLE: 'corrupt',
  MODEL_NOT_FOUND: 'not-found',
  MODEL_NOT_READY: 'unavailable',
  MODEL_FAILED: 'unavailable',
  OUTPUT_NOT_FINITE: 'invalid'
})
