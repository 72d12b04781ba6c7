import { defineErrors } from '../base/errors.js'

export const onnxErrors = defineErrors({
  ONNX_NOT_A_MODEL: 'invalid',
  ONNX_TOO_LARGE: 'too-large',
  ONNX_CYCLIC: 'invalid',
  ONNX_MALFORMED: 'invalid',
  ONNX_UNSUPPORTED: 'unsupported',
  ONNX_EXTERNAL_DATA: 'invalid'
})
