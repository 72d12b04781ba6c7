import { defineErrors } from '../base/errors.js'

export const signatureErrors = defineErrors({
  SIGNATURE_INVALID: 'invalid',
  SIGNATURE_TOO_FEW_IMAGES: 'invalid'
})
