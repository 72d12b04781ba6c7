/** The compiler's process: takes one request, answers with progress and an end. See compile-process.ts. */
import { toErrorRecord } from '../base/errors.js'
import { readModelFile } from '../onnx/model-file.js'
import { compileModel } from './pipeline.js'
import type { CompileMessage, CompileRequest } from './compile-process.js'

const send = (message: CompileMessage) => process.send?.(message)

process.once('message', (request: CompileRequest) => {
  run(request).then(
    () => send({ type: 'done' }),
    (thrown: unknown) => send({ type: 'failed', error: toErrorRecord(thrown) })
  )
})

async function run ({ modelPath, folder, options }: CompileRequest): Promise<void> {
  const bytes = await readModelFile(modelPath)
  await compileModel(bytes, folder, options, (step, attempt) => send({ type: 'progress', step, attempt }))
}
