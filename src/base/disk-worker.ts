/** The thread that makes durable changes: a lone one at once, several with their syncs side by side. */
import assert from 'node:assert/strict'
import { parentPort } from 'node:worker_threads'
import { FileChanged, makeChange } from './durable-change.js'
import { BLOCKING_CALLS, SYNCING_CALLS } from './file-calls.js'
import { yieldToOthers } from './thread-priority.js'
import type { DiskFailure, DiskOutcome, DiskTask } from './disk-thread.js'

/** Inferences go first; whoever waits for a change waits for the disk anyway. */
const NICENESS = 5

const port = parentPort
assert.ok(port !== null)
yieldToOthers(NICENESS)

const waiting: DiskTask[] = []
let underWay = 0

port.on('message', (task: DiskTask) => {
  // All messages that have arrived are told before the next turn.
  if (waiting.push(task) === 1) setImmediate(begin)
})

function begin (): void {
  const tasks = waiting.splice(0)
  underWay += tasks.length
  const calls = underWay === 1 ? BLOCKING_CALLS : SYNCING_CALLS
  for (const { id, steps } of tasks) {
    makeChange(steps, calls).then(() => tell({ id }), (failure: Error) => tell({ id, failure: recordOf(failure) }))
  }
}

function tell (outcome: DiskOutcome): void {
  underWay--
  port!.postMessage(outcome)
}

function recordOf (failure: NodeJS.ErrnoException & { dest?: string }): DiskFailure {
  const { message, stack, code, errno, syscall, path, dest } = failure
  const isChanged = failure instanceof FileChanged
  return { message, stack, isChanged, errno: syscall === undefined ? {} : { code, errno, syscall, path, dest } }
}
