import { defineErrors } from '../base/errors.js'

export const calibrationErrors = defineErrors({
  CALIBRATION_OPTIONS_INVALID: 'invalid',
  CALIBRATION_LAYER_UNKNOWN: 'invalid',
  CALIBRATION_TOO_FEW_IMAGES: 'invalid',
  CALIBRATION_IMAGES_IDENTICAL: 'invalid',
  CALIBRATION_IMAGE_BROKEN: 'invalid',
  CALIBRATION_TENSORS_INVALID: 'invalid',
  CALIBRATION_TOO_LARGE: 'too-large',
  CALIBRATION_NOT_FINITE: 'invalid',
  CALIBRATION_BATCH_TOO_SMALL: 'invalid',
  CALIBRATION_MODEL_CHANGED: 'conflict',
  CALIBRATION_CRASHED: 'internal',
  COMPILE_LAYER_REUSED: 'unsupported',
  ARCHIVE_UNREADABLE: 'invalid',
  ARCHIVE_TOO_LARGE: 'too-large',
  ARCHIVE_NAME_REFUSED: 'invalid',
  CONTRIBUTION_MISSING: 'invalid',
  CONTRIBUTION_MISMATCH: 'invalid',
  JOB_NOT_FOUND: 'not-found',
  JOB_LOST: 'unavailable',
  JOB_CANCELLED: 'cancelled',
  JOB_QUEUE_FULL: 'exhausted'
})
