import { open } from 'node:fs/promises'
import { onnxErrors } from './errors.js'
import { looksLikeModel, MODEL_BYTES_MAX } from './model.js'

const HEAD_BYTES = 16

/**
 * Reads a model file after a look at its size and its first bytes, so that what cannot be a model is never read whole.
 * Throws ONNX_NOT_A_MODEL, ONNX_TOO_LARGE, or the errno error.
 */
export async function readModelFile (path: string): Promise<Uint8Array> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0)
    if (!looksLikeModel(buffer.subarray(0, bytesRead))) {
      throw onnxErrors.ONNX_NOT_A_MODEL('this is no ONNX model: it opens with no field of one')
    }
    if (size > MODEL_BYTES_MAX) {
      throw onnxErrors.ONNX_TOO_LARGE('the model file is too large', { expected: MODEL_BYTES_MAX, received: size })
    }
    const bytes = Buffer.allocUnsafeSlow(size)
    for (let at = 0; at < size;) {
      const { bytesRead } = await file.read(bytes, at, size - at, at)
      if (bytesRead === 0) throw onnxErrors.ONNX_NOT_A_MODEL('the model file ended while it was read')
      at += bytesRead
    }
    return bytes
  } finally {
    await file.close()
  }
}
