import { defineErrors } from '../base/errors.js'

export const accessErrors = defineErrors({
  KEYS_INVALID: 'invalid',
  KEY_NOT_FOUND: 'not-found',
  KEY_EXPIRED: 'unauthenticated',
  SCOPE_MISSING: 'forbidden',
  MODEL_DENIED: 'forbidden'
})
