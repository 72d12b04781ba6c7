import { defineErrors } from '../base/errors.js'

export const imagingErrors = defineErrors({
  IMAGE_UNREADABLE: 'invalid',
  IMAGE_TOO_LARGE: 'too-large'
})
