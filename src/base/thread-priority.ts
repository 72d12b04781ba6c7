import { readlinkSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'

const NICENESS_MAX = 19

/**
 * Makes the calling thread give way to the others of its process: its niceness becomes that of the process's first
 * thread and so much more, 19 at most. So a service that was started at another priority has all its threads there, and
 * none of them waits for programs that the service itself goes before. Linux keeps niceness per thread and names the
 * calling one in /proc/thread-self; elsewhere this does nothing.
 */
export function yieldToOthers (niceness: number): void {
  try {
    const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1))
    setPriority(thread, Math.min(NICENESS_MAX, getPriority(process.pid) + niceness))
  } catch {
    // Not Linux, or /proc is hidden: threads then compete as equals, which is slower to answer but right.
  }
}
