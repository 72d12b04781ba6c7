import { readlinkSync } from 'node:fs'
import { setPriority } from 'node:os'

/**
 * Makes the calling thread give way to others of the machine: raises its niceness (0 is normal, 19 the most generous).
 * Linux keeps niceness per thread and names the calling one in /proc/thread-self; elsewhere this does nothing.
 */
export function yieldToOthers (niceness: number): void {
  try {
    const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1))
    setPriority(thread, niceness)
  } catch {
    // Not Linux, or /proc is hidden: threads then compete as equals, which is slower to answer but right.
  }
}
