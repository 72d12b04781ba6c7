/** A server in a process of its own, with a store of its own, for benchmarks that measure from outside. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const ROOT = new URL('../../', import.meta.url).pathname

/** As a shell tells of a process that SIGTERM ended: a benchmark that is stopped takes its servers with it. */
process.once('SIGTERM', () => process.exit(143))

export interface BenchServer {
  address: string
  pid: number
  adminKey: string
  /** Stops it by SIGTERM; resolves with the exit code. */
  stop (): Promise<number | null>
}

/** Starts and waits until every model is ready. `execArgv` are options for Node. */
export async function startBenchServer (
  settings: Record<string, string> = {}, execArgv: readonly string[] = []
): Promise<BenchServer> {
  const folder = await mkdtemp(join(tmpdir(), 'bankswitch-bench-'))
  const adminKey = 'a-key-for-the-benchmarks'
  const server = fork(join(ROOT, 'dist/main.js'), ['serve', '--port', '0'], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    execArgv: [...execArgv],
    env: {
      ...process.env,
      BANKSWITCH_MODELS_DIR: join(ROOT, 'models'),
      BANKSWITCH_DOMAINS_DIR: join(ROOT, 'domains'),
      BANKSWITCH_STORE: join(folder, 'store'),
      BANKSWITCH_CACHE_DIR: join(folder, 'cache'),
      BANKSWITCH_JOBS_DIR: join(folder, 'jobs'),
      BANKSWITCH_AUDIT_FILE: join(folder, 'audit.jsonl'),
      BANKSWITCH_ADMIN_KEY: adminKey,
      ...settings,
      // Its line "ready" is waited for.
      BANKSWITCH_LOG_LEVEL: 'info'
    }
  })
  const kill = () => server.kill('SIGTERM')
  process.once('exit', kill)
  const address = await new Promise<string>((resolve, reject) => {
    let output = ''
    server.once('exit', () => reject(new Error(`the server ended before it was ready:\n${output}`)))
    server.stdout!.on('data', (chunk: Buffer) => {
      if (output.includes('"msg":"ready"')) return
      output += chunk.toString()
      if (output.includes('"msg":"ready"')) resolve(/"address":"([^"]+)"/.exec(output)![1]!)
    })
  })
  return {
    address,
    pid: server.pid!,
    adminKey,
    async stop () {
      process.off('exit', kill)
      kill()
      const [code] = await once(server, 'exit') as [number | null]
      await rm(folder, { recursive: true, force: true })
      return code
    }
  }
}

/** Resident memory now and at its peak since the last reset, in MiB. */
export function memoryOf ({ pid }: BenchServer): { rss: number, peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const read = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)![1]) / 1024
  return { rss: read('VmRSS'), peak: read('VmHWM') }
}

/** From the kernel's account of all mappings of a process, in KiB; `pss` shares out what several processes have mapped. */
export async function mappedMemoryOf (pid: number): Promise<{ rss: number, pss: number, anonymous: number }> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8')
  const field = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(text)?.[1])
  return { rss: field('Rss'), pss: field('Pss'), anonymous: field('Anonymous') }
}

/** A binary request of the Open Inference Protocol with random pixels, for traffic-signs. */
export function signsRequest (rows: number, size = 32): { body: Buffer, headers: Record<string, string> } {
  return pictureRequest('input', rows, size)
}

/** The same for any model of square RGB pictures; each number is another picture. */
export function pictureRequest (
  name: string, rows: number, size: number, picture = 0
): { body: Buffer, headers: Record<string, string> } {
  const pixels = Float32Array.from({ length: rows * 3 * size * size }, (_, at) => Math.sin(at * 12.9898 + picture) * 2)
  return tensorRequest(name, [rows, 3, size, size], pixels)
}

/** The same with values given. */
export function tensorRequest (
  name: string, shape: readonly number[], values: Float32Array
): { body: Buffer, headers: Record<string, string> } {
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength)
  const header = Buffer.from(JSON.stringify({
    inputs: [{ name, shape, datatype: 'FP32', parameters: { binary_data_size: bytes.length } }],
    parameters: { binary_data_output: true }
  }))
  return {
    body: Buffer.concat([header, bytes]),
    headers: {
      'inference-header-content-length': String(header.length),
      'content-type': 'application/octet-stream'
    }
  }
}
