import { defineErrors } from '../base/errors.js'

export const imagingErrors = defineErrors({
  IMAGE_UNREADABLE: 'invalid',
  IMAGE_TOO_LARGE: 'too-large',
  OUTPUT_SHAPE_UNEXPECTED: 'internal',
  OUTPUT_PIXELS_NOT_FINITE: 'invalid'
})
