/**
 * Does inference starve the event loop? Saturates every worker of a server in a process of its own and measures how
 * `/livez` answers meanwhile, from this process, over one connection.
 *
 *   npm run bench:livez [-- --seconds 10 --connections 32]
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import autocannon from 'autocannon'
import { quantile } from './measure.js'

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '10' }, connections: { type: 'string', default: '32' } }
})

const ROOT = new URL('../../', import.meta.url).pathname
const folder = await mkdtemp(join(tmpdir(), 'bankswitch-bench-'))
const server = fork(join(ROOT, 'dist/main.js'), ['serve', '--port', '0'], {
  stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  env: {
    ...process.env,
    BANKSWITCH_MODELS_DIR: join(ROOT, 'models'),
    BANKSWITCH_DOMAINS_DIR: join(folder, 'domains'),
    BANKSWITCH_CACHE_DIR: join(folder, 'cache'),
    BANKSWITCH_ADMIN_KEY_FILE: join(folder, 'key')
  }
})

try {
  const address = await readiness()
  const quiet = await livezLatencies(address, 2)
  const rows = 32
  const pixels = Buffer.from(new Float32Array(rows * 3 * 32 * 32).buffer)
  const header = Buffer.from(JSON.stringify({
    inputs: [{
      name: 'input', shape: [rows, 3, 32, 32], datatype: 'FP32', parameters: { binary_data_size: pixels.length }
    }]
  }))
  const load = autocannon({
    url: `${address}/v2/models/traffic-signs/infer`,
    method: 'POST',
    connections: Number(values.connections),
    duration: Number(values.seconds),
    headers: { 'inference-header-content-length': String(header.length), 'content-type': 'application/octet-stream' },
    body: Buffer.concat([header, pixels])
  })
  const busy = await livezLatencies(address, Number(values.seconds) - 1)
  const { requests, errors, non2xx } = await load
  console.log(`load: ${values.connections} connections of ${rows}-row requests, ${(requests.average * rows).toFixed(0)} rows/s, ` +
    `${errors} errors, ${non2xx} refused`)
  for (const [name, latencies] of [['idle', quiet], ['saturated', busy]] as const) {
    console.log(`/livez ${name}: p50 ${quantile(latencies, 0.5).toFixed(2)} ms, p99 ${quantile(latencies, 0.99).toFixed(2)} ms, ` +
      `max ${Math.max(...latencies).toFixed(2)} ms, ${latencies.length} requests`)
  }
} finally {
  server.kill('SIGTERM')
  await once(server, 'exit')
  await rm(folder, { recursive: true, force: true })
}

/** The server's address once it is ready, from its log. */
async function readiness (): Promise<string> {
  let address = ''
  for await (const chunk of server.stdout!) {
    for (const line of String(chunk).split('\n')) {
      address ||= /"address":"([^"]+)"/.exec(line)?.[1] ?? ''
      if (line.includes('"msg":"ready"')) {
        server.stdout!.resume()
        return address
      }
    }
  }
  throw new Error('the server ended before it was ready')
}

async function livezLatencies (address: string, seconds: number): Promise<number[]> {
  const latencies: number[] = []
  const end = performance.now() + seconds * 1000
  while (performance.now() < end) {
    const begin = performance.now()
    await get(`${address}/livez`)
    latencies.push(performance.now() - begin)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return latencies
}

function get (url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    request(url, (response) => response.resume().on('end', resolve)).on('error', reject).end()
  })
}
