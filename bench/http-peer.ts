/**
 * Requests per second beside what one would write instead: FastAPI on uvicorn (uvloop, httptools) with a fused model and
 * a session per domain (peer_server.py), one raw float32 row a request. Both have the same cores, turns and client; both
 * log a line per request. The peer runs its sessions in threads, which let go of Python's lock meanwhile, in one process
 * or in several.
 *
 *   npm run bench -- http-peer --python VENV/bin/python [--chunks 8 --seconds 4 --connections 8 --processes 1,2]
 *
 * The interpreter needs: pip install fastapi uvicorn uvloop httptools onnxruntime numpy
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { completeBank } from '#src/bank/bank.js'
import { parseBankSafetensors } from '#src/bank/formats/bank-safetensors.js'
import { markdownTable, quantile } from '#src/cli/measure.js'
import { withCompiled } from '#src/cli/compiled-once.js'
import { compilePrepared, prepareSource } from '#src/compiler/pipeline.js'
import { withBank } from '#src/compiler/with-bank.js'
import { serializeModel } from '#src/onnx/model.js'
import { ask } from './ask.js'
import { makeLoad } from './load.js'
import { openBench } from './report.js'
import { startBenchServer } from './server.js'

const { values, publish } = openBench('http-peer', {
  python: 'python3', chunks: '8', seconds: '4', connections: '8', processes: '1,2'
})
const chunks = Number(values.chunks)

const ROOT = new URL('../../', import.meta.url).pathname
const MODEL = 'traffic-signs'
const DOMAIN = 'day'
const SIZE = 32
const CLASSES = 43
/** Of the larger of all values. */
const DIFFERENCE_MAX = 1e-4

/** One row, nothing but its values. */
const pixels = Float32Array.from({ length: 3 * SIZE * SIZE }, (_, at) => Math.sin(at * 12.9898) * 2)
const BODY = Buffer.from(pixels.buffer)

interface Server {
  name: string
  url: string
  headers: Record<string, string>
  stop (): Promise<unknown>
}

const folder = await mkdtemp(join(tmpdir(), 'bankswitch-http-peer-'))
const servers: Server[] = []
try {
  await writeFused(folder)
  servers.push(await startOurs())
  for (const processes of values.processes.split(',')) servers.push(await startPeer(folder, processes))
  await requireSameAnswers(servers)
  await publish(await compare(servers))
} finally {
  for (const server of servers) await server.stop()
  await rm(folder, { recursive: true, force: true })
}

/** A model per domain, as it would be exported for that domain alone; ONNX Runtime folds its batch norms. */
async function writeFused (into: string): Promise<void> {
  const prepared = await prepareSource({ path: join(ROOT, 'models', MODEL, 'model.onnx'), origin: 'graph' })
  const options = { foldBudget: 0, samples: [{ '': [1, 3, SIZE, SIZE] }] }
  await withCompiled((artefact) => compilePrepared(prepared, artefact, options), async ({ artefact: { layers, ownBank } }) => {
    const domains = join(ROOT, 'domains', MODEL)
    for (const domain of await readdir(domains)) {
      const name = (await readdir(join(domains, domain))).find((file) => file.endsWith('.safetensors'))!
      const file = parseBankSafetensors(await readFile(join(domains, domain, name)), layers)
      const fused = withBank(prepared.bytes, completeBank(layers, file.layers, ownBank))
      await writeFile(join(into, `${domain}.onnx`), serializeModel(fused))
    }
  })
}

async function startOurs (): Promise<Server> {
  const server = await startBenchServer()
  return {
    name: 'bankswitch',
    url: `${server.address}/v2/models/${MODEL}/infer`,
    headers: { 'inference-header-content-length': '0', 'content-type': 'application/octet-stream', 'x-domain': DOMAIN },
    stop: () => server.stop()
  }
}

async function startPeer (models: string, processes: string): Promise<Server> {
  const port = await freePort()
  const peer = spawn(values.python, [join(ROOT, 'bench/peer_server.py'), models, String(port), processes], {
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const ended = once(peer, 'exit')
  let output = ''
  const isReady = () => output.split('Application startup complete').length > Number(processes)
  await new Promise<void>((resolve, reject) => {
    ended.then(() => reject(new Error(`the peer ended:\n${output}`)), reject)
    // Read to the end, or a full pipe would stop it.
    for (const stream of [peer.stdout, peer.stderr]) {
      stream.on('data', (bytes: Buffer) => {
        if (isReady()) return
        output += bytes.toString()
        if (isReady()) resolve()
      })
    }
  })
  return {
    name: `FastAPI, processes: ${processes}`,
    url: `http://127.0.0.1:${port}/infer`,
    headers: { 'content-type': 'application/octet-stream', 'x-domain': DOMAIN },
    stop () {
      peer.kill('SIGTERM')
      return ended
    }
  }
}

async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

async function requireSameAnswers (all: readonly Server[]): Promise<void> {
  const [expected, ...others] = await Promise.all(all.map(async ({ url, headers }) => {
    const { status, body } = await ask({ method: 'POST', url, headers, body: BODY })
    assert.equal(status, 200, body.toString())
    // Ours has its JSON before them.
    return Array.from({ length: CLASSES }, (_, at) => body.readFloatLE(body.length - 4 * (CLASSES - at)))
  }))
  const largest = Math.max(...expected!.map(Math.abs))
  for (const answer of others) {
    const difference = Math.max(...answer.map((value, at) => Math.abs(value - expected![at]!)))
    assert.ok(difference <= DIFFERENCE_MAX * largest, `the answers differ by ${difference}`)
  }
}

async function compare (all: readonly Server[]): Promise<string> {
  const rates = all.map((): number[] => [])
  for (let chunk = 0; chunk <= chunks; chunk++) {
    const order = chunk % 2 === 0 ? [...all.keys()] : [...all.keys()].reverse()
    for (const at of order) {
      const { name, url, headers } = all[at]!
      const { requestsPerSecond, errors, refused } = await makeLoad({
        url, headers, body: BODY, connections: Number(values.connections), seconds: Number(values.seconds)
      })
      assert.equal(errors + refused, 0)
      // The first is the warm-up.
      if (chunk > 0) rates[at]!.push(requestsPerSecond)
      console.error(name, requestsPerSecond)
    }
  }
  const [ours] = rates
  const rows = all.map(({ name }, at) => {
    const ratios = rates[at]!.map((rate, chunk) => ours![chunk]! / rate)
    return [name, quantile(rates[at]!, 0.5).toFixed(0), at === 0 ? '' : `${quantile(ratios, 0.5).toFixed(2)}x`]
  })
  return `\`${MODEL}\`, one row, ${values.connections} connections, medians of ${chunks} chunks of ${values.seconds} s:\n\n` +
    markdownTable(['server', 'requests/s', 'bankswitch over it'], rows)
}
