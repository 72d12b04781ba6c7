import { readdir } from 'node:fs/promises'

/**
 * Registers the tests of a room's files in this process, as `--test-isolation=none` does, which Node 20 lacks: loading
 * and compiling the service's code anew for every file takes more time than most files' tests.
 */
export async function together (room: string): Promise<void> {
  const folder = new URL(`../${room}/`, import.meta.url)
  for (const file of (await readdir(folder)).sort()) {
    if (file.endsWith('.test.js')) await import(new URL(file, folder).href)
  }
}
