/** The compiler's process: takes one request, answers with progress and an end. See compile-process.ts. */
import { toErrorRecord } from '../base/errors.js'
import { compileSource } from './pipeline.js'
import type { CompileMessage, CompileRequest } from './compile-process.js'

const send = (message: CompileMessage) => process.send?.(message)

process.once('message', (request: CompileRequest) => {
  run(request).then(
    () => send({ type: 'done' }),
    (thrown: unknown) => send({ type: 'failed', error: toErrorRecord(thrown) })
  )
})

async function run ({ source, folder, options }: CompileRequest): Promise<void> {
  await compileSource(source, folder, options, (pass, round) => send({ type: 'progress', pass, round }))
}
