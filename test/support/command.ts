/** A command run in this process, for what it refuses: a process of its own for each refusal costs a second. */
import { mock } from 'node:test'
import { runBankswitch } from '#src/cli/bankswitch.js'

export interface Refusal {
  code: number
  stderr: string
}

/**
 * Runs `bankswitch` with settings in the environment, and none of the machine's own. Commands that print an answer need
 * a process of their own: this one's standard output belongs to the test runner.
 */
export async function refusalOf (argv: readonly string[], settings: Record<string, string> = {}): Promise<Refusal> {
  const environment = process.env
  process.env = Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith('BANKSWITCH_')))
  Object.assign(process.env, settings)
  let stderr = ''
  const written = mock.method(process.stderr, 'write', (text: string | Uint8Array) => {
    stderr += String(text)
    return true
  })
  try {
    return { code: await runBankswitch([...argv]), stderr }
  } finally {
    written.mock.restore()
    process.env = environment
  }
}
