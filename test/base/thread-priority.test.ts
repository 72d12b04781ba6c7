import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readlinkSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'
import { describe, it } from 'node:test'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { fileURLToPath } from 'node:url'
import { yieldToOthers } from '#src/base/thread-priority.js'

interface Seen {
  before: number
  after: number
  /** Of the thread that started it, afterwards. */
  starter: number
}

/** The niceness of the calling thread, on Linux. */
function niceness (): number {
  return getPriority(Number(readlinkSync('/proc/thread-self').split('/').at(-1)))
}

async function seenInThread (more: number): Promise<Seen> {
  const worker = new Worker(new URL(import.meta.url), { workerData: more })
  // Heard together: a thread may have ended before the promise of its message is seen to.
  const [[seen]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')])
  return { ...seen, starter: niceness() }
}

if (!isMainThread) {
  const before = niceness()
  yieldToOthers(workerData)
  parentPort!.postMessage({ before, after: niceness() })
} else if (process.argv[2] === 'nicer') {
  setPriority(Number(process.argv[3]))
  process.send!(await seenInThread(5))
} else {
  describe('a thread gives way', { skip: process.platform !== 'linux' }, () => {
    it('and only that thread', async () => {
      const own = niceness()
      assert.deepEqual(await seenInThread(5), { before: own, after: Math.min(19, own + 5), starter: own })
      assert.equal((await seenInThread(40)).after, 19)
    })

    it('to those of its process, whatever priority that has', async () => {
      const started = Math.min(19, niceness() + 3)
      const child = fork(fileURLToPath(import.meta.url), ['nicer', String(started)])
      const [[seen]] = await Promise.all([once(child, 'message'), once(child, 'exit')])
      assert.deepEqual(seen, { before: started, after: Math.min(19, started + 5), starter: started })
    })
  })
}
