/** The thread that reads large JSON bodies, one after another. What it makes is given away with its memory. */
import assert from 'node:assert/strict'
import { parentPort, type TransferListItem } from 'node:worker_threads'
import { toErrorRecord } from '../../base/errors.js'
import { yieldToOthers } from '../../base/thread-priority.js'
import { parseGoldensJson } from './parse-goldens.js'
import { parseInferenceRequest } from './parse-request.js'
import type { PlainTensor } from '../../ort/session.js'
import type { ParseOutcome, ParseTask } from './json-bodies.js'

/** Beside the event loop and the inferences that are under way: what is read here may be anybody's. */
const NICENESS = 5

const port = parentPort
assert.ok(port !== null)
yieldToOthers(NICENESS)

port.on('message', (task: ParseTask) => {
  try {
    const { outcome, tensors } = parse(task)
    port.postMessage(outcome, buffersOf(tensors))
  } catch (error) {
    port.postMessage({ error: toErrorRecord(error) } satisfies ParseOutcome)
  }
})

function parse (task: ParseTask): { outcome: ParseOutcome, tensors: PlainTensor[] } {
  if (task.kind === 'inference') {
    const result = parseInferenceRequest(task.body, task.headerLength)
    return { outcome: { result }, tensors: Object.values(result.feeds) }
  }
  const result = parseGoldensJson(task.body)
  return { outcome: { result }, tensors: [...Object.values(result.inputs), ...Object.values(result.expected)] }
}

/** Binary tensors share one: the body's own. */
function buffersOf (tensors: PlainTensor[]): TransferListItem[] {
  return [...new Set(tensors.flatMap(({ data }) => ArrayBuffer.isView(data) ? [data.buffer as ArrayBuffer] : []))]
}
