/** The thread that makes durable changes, all that wait at once. */
import assert from 'node:assert/strict'
import { parentPort } from 'node:worker_threads'
import { FileChanged, makeChanges } from './durable-change.js'
import { BLOCKING_CALLS } from './file-calls.js'
import { yieldToOthers } from './thread-priority.js'
import type { DiskOutcome, DiskTask } from './disk-thread.js'

/** Inferences go first; whoever waits for a change waits for the disk anyway. */
const NICENESS = 5

const port = parentPort
assert.ok(port !== null)
yieldToOthers(NICENESS)

const waiting: DiskTask[] = []

port.on('message', (task: DiskTask) => {
  // All messages that have arrived are told before the next turn.
  if (waiting.push(task) === 1) setImmediate(work)
})

async function work (): Promise<void> {
  const tasks = waiting.splice(0)
  const failures = await makeChanges(tasks.map(({ steps }) => steps), BLOCKING_CALLS)
  for (const [at, { id }] of tasks.entries()) {
    const failure = failures[at]
    port!.postMessage({ id, ...(failure === undefined ? {} : { failure: recordOf(failure) }) } satisfies DiskOutcome)
  }
}

function recordOf (failure: NodeJS.ErrnoException): NonNullable<DiskOutcome['failure']> {
  const { message, code, errno, syscall, path } = failure
  const isChanged = failure instanceof FileChanged
  return { message, isChanged, errno: syscall === undefined ? {} : { code, errno, syscall, path } }
}
