import { defineErrors } from '../base/errors.js'

export const storeErrors = defineErrors({
  DOMAIN_NOT_FOUND: 'not-found',
  DOMAIN_EXISTS: 'conflict',
  VERSION_NOT_FOUND: 'not-found',
  VERSION_ACTIVE: 'conflict',
  VERSION_MARKED: 'conflict',
  LABEL_NOT_FOUND: 'not-found',
  GATE_NOT_FOUND: 'not-found',
  ROLLBACK_IMPOSSIBLE: 'conflict',
  STORE_CHANGED: 'conflict',
  PRECONDITION_FAILED: 'precondition',
  STORE_CORRUPT: 'corrupt',
  STORE_FORMAT_UNKNOWN: 'unavailable',
  STORE_UNWRITABLE: 'unavailable',
  STORE_UNREADABLE: 'unavailable',
  STORE_IN_USE: 'conflict',
  STORE_LIMIT: 'exhausted',
  SNAPSHOT_INVALID: 'invalid'
})
