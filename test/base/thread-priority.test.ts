import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readlinkSync } from 'node:fs'
import { getPriority } from 'node:os'
import { test } from 'node:test'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { yieldToOthers } from '#src/base/thread-priority.js'

/** The niceness of the calling thread, on Linux. */
function niceness (): number {
  return getPriority(Number(readlinkSync('/proc/thread-self').split('/').at(-1)))
}

if (isMainThread) {
  test('a thread gives way, and only that thread', { skip: process.platform !== 'linux' }, async () => {
    const before = niceness()
    const worker = new Worker(new URL(import.meta.url))
    // Heard together: a thread may have ended before the promise of its message is seen to.
    const [[inWorker]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')])
    assert.deepEqual(inWorker, { before, after: 19 })
    assert.equal(niceness(), before)
  })
} else {
  const before = niceness()
  yieldToOthers(19)
  parentPort!.postMessage({ before, after: niceness() })
}
