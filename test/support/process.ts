/** A real server in a process of its own. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { ROOT } from './folders.js'
import type { TestContext } from 'node:test'

export const MAIN = join(ROOT, 'dist/main.js')

export interface RunningProcess {
  child: ChildProcess
  address: string
  stdout (): string
  /** Exit code, or the signal that ended it. */
  ended: Promise<number | string>
}

/** Environment without settings of the machine that runs the tests. */
export function cleanEnvironment (settings: Record<string, string>): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('BANKSWITCH_'))
  return { ...Object.fromEntries(inherited), ...settings }
}

/** Starts `bankswitch serve` and resolves when it has said that it is ready, or `state`; it is killed when the test ends. */
export async function startProcess (
  t: Pick<TestContext, 'after'>, settings: Record<string, string>, cwd: string, state: 'ready' | 'listening' = 'ready'
): Promise<RunningProcess> {
  const child = spawn(process.execPath, [MAIN, 'serve', '--port', '0'], {
    cwd, env: cleanEnvironment(settings), stdio: ['ignore', 'pipe', 'pipe']
  })
  let output = ''
  let address = ''
  const ended = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | string)
  t.after(async () => {
    child.kill('SIGKILL')
    await ended
  })
  child.stderr!.on('data', (chunk: Buffer) => { output += chunk.toString() })
  await new Promise<void>((resolve, reject) => {
    child.stdout!.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      address ||= /"address":"([^"]+)"/.exec(output)?.[1] ?? ''
      if (output.includes(`"msg":"${state}"`)) resolve()
    })
    void ended.then((how) => reject(new Error(`the server ended (${how}) before it was ${state}:\n${output}`)))
  })
  return { child, address, stdout: () => output, ended }
}

export interface CommandOutcome {
  code: number
  stdout: string
  stderr: string
}

/** Runs a command in a folder, and waits for its end. */
export async function runCommand (cwd: string, settings: Record<string, string>, ...argv: string[]): Promise<CommandOutcome> {
  const child = spawn(process.execPath, [MAIN, ...argv], { cwd, env: cleanEnvironment(settings) })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => { stdout += chunk.toString() })
  child.stderr.on('data', (chunk: Buffer) => { stderr += chunk.toString() })
  const [code] = await once(child, 'close') as [number]
  return { code, stdout, stderr }
}
