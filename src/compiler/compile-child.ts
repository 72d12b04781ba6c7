/** The compiler's process: takes one request, answers with progress and an end. See compile-process.ts. */
import { toErrorRecord } from '../base/errors.js'
import { yieldToOthers } from '../base/thread-priority.js'
import { proveDedicated, writeDedicated } from './dedicate.js'
import { compileSource } from './pipeline.js'
import type { ChildRequest, CompileMessage } from './compile-process.js'

/** Of work that nobody waits for; at 19 it would take minutes where inference takes all that there is. */
const BACKGROUND_NICENESS = 15

const send = (message: CompileMessage) => process.send?.(message)

process.once('message', (request: ChildRequest) => {
  run(request).then(
    (result) => send({ type: 'done', result }),
    (thrown: unknown) => send({ type: 'failed', error: toErrorRecord(thrown) })
  )
})

async function run ({ task, request }: ChildRequest): Promise<unknown> {
  if (task === 'compile') {
    const { source, folder, options } = request
    return await compileSource(source, folder, options, (pass, round) => send({ type: 'progress', pass, round }))
  }
  yieldToOthers(BACKGROUND_NICENESS)
  return await (task === 'write-dedicated' ? writeDedicated(request) : proveDedicated(request))
}
