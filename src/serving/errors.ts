import { defineErrors } from '../base/errors.js'

export const servingErrors = defineErrors({
  DOMAIN_REFERENCE_INVALID: 'invalid',
  BLEND_PREPROCESSING_DIFFERS: 'invalid',
  DOMAIN_INACTIVE: 'conflict',
  DOMAIN_IS_DEFAULT: 'conflict',
  DOMAIN_NAME_RESERVED: 'invalid',
  AUTO_TOO_MANY_DOMAINS: 'conflict',
  SIGNATURE_MISSING: 'conflict',
  SIGNATURE_STALE: 'conflict',
  SHADOW_NOT_FOUND: 'not-found',
  GATE_FAILED: 'conflict',
  GATE_INVALID: 'invalid',
  GATE_TOO_LARGE: 'too-large',
  VERSION_LEASED: 'conflict',
  VERSION_LEAVING: 'conflict',
  INPUT_UNKNOWN: 'invalid',
  INPUT_MISSING: 'invalid',
  INPUT_DATATYPE_MISMATCH: 'invalid',
  INPUT_SHAPE_MISMATCH: 'invalid',
  INPUT_TOO_LARGE: 'too-large',
  OUTPUT_UNKNOWN: 'invalid',
  REQUEST_TOO_MANY_VERSIONS: 'invalid',
  ROWS_DEPENDENT: 'unsupported',
  PICTURE_TOO_LARGE: 'too-large',
  PROGRESS_KEY_IN_USE: 'conflict',
  PROGRESS_NOT_FOUND: 'not-found'
})
