import { defineErrors } from '../base/errors.js'

export const bankErrors = defineErrors({
  BANK_EMPTY: 'invalid',
  BANK_FORM_INVALID: 'invalid',
  BANK_LAYER_UNKNOWN: 'invalid',
  BANK_LAYER_MISSING: 'invalid',
  BANK_LENGTH_MISMATCH: 'invalid',
  BANK_STATISTIC_MISSING: 'invalid',
  BANK_VALUE_INVALID: 'invalid',
  BANK_FINGERPRINT_MISMATCH: 'invalid',
  SAFETENSORS_MALFORMED: 'invalid',
  SAFETENSORS_UNSUPPORTED: 'invalid'
})
