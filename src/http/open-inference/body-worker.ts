/** The thread for large bodies, one after another. What it makes is given away with its memory. */
import assert from 'node:assert/strict'
import { parentPort, type TransferListItem } from 'node:worker_threads'
import { toErrorRecord } from '../../base/errors.js'
import { yieldToOthers } from '../../base/thread-priority.js'
import { inflateInThread, type Inflating } from '../limits/inflate.js'
import { parseGoldensJson } from './parse-goldens.js'
import { parseInferenceRequest, type InferenceMessage } from './parse-request.js'
import type { PlainTensor } from '../../ort/session.js'
import type { Goldens } from '../../serving/changing/administration.js'
import type { BodyOutcome, BodyTask } from './body-thread.js'

/** Beside the event loop and the inferences that are under way: what is read here may be anybody's. */
const NICENESS = 5

const port = parentPort
assert.ok(port !== null)
yieldToOthers(NICENESS)

port.on('message', (task: BodyTask) => {
  try {
    const { result, memory } = work(task)
    port.postMessage({ result } satisfies BodyOutcome, memory)
  } catch (error) {
    port.postMessage({ error: toErrorRecord(error) } satisfies BodyOutcome)
  }
})

function work (task: BodyTask): { result: InferenceMessage | Goldens | Inflating, memory: TransferListItem[] } {
  switch (task.kind) {
    case 'inference': {
      const result = parseInferenceRequest(task.body, task.headerLength)
      return { result, memory: buffersOf(Object.values(result.feeds)) }
    }
    case 'goldens': {
      const result = parseGoldensJson(task.body)
      return { result, memory: buffersOf([...Object.values(result.inputs), ...Object.values(result.expected)]) }
    }
    case 'inflate': {
      const result = inflateInThread(task)
      const { body, inflated = body } = result
      return { result, memory: [...new Set([body.buffer as ArrayBuffer, inflated.buffer as ArrayBuffer])] }
    }
  }
}

/** Binary tensors share one: the body's own. */
function buffersOf (tensors: PlainTensor[]): TransferListItem[] {
  return [...new Set(tensors.flatMap(({ data }) => ArrayBuffer.isView(data) ? [data.buffer as ArrayBuffer] : []))]
}
