/**
 * Domains that come and go: registers two versions, activates the first, asks once and deletes, many times over. Prints
 * memory and what is left in the store's folder; exit code 1 when files are left behind or memory goes on growing.
 *
 *   npm run bench:cycles [-- --cycles 10000]
 */
import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Client } from './client.js'
import { signsRequest, startBenchServer } from './server.js'

const { values } = parseArgs({ options: { cycles: { type: 'string', default: '10000' } } })
const cycles = Number(values.cycles)

const REPORTS = 10
const GROWTH_MAX = 0.05

const domainsDir = await mkdtemp(join(tmpdir(), 'bankswitch-cycles-'))
const server = await startBenchServer({ BANKSWITCH_DOMAINS_DIR: domainsDir })
const client = new Client(server)
const octets = { 'content-type': 'application/octet-stream' }
try {
  const bank = await client.call('GET', '/admin/models/traffic-signs/domains/day/versions/1')
  const before = await readdir(domainsDir, { recursive: true })
  const memory = await run(bank)
  const left = (await readdir(domainsDir, { recursive: true })).filter((path) => !before.includes(path))
  const half = memory.slice(memory.length >> 1)
  const growth = half.at(-1)! / half[0]! - 1
  console.log(`${left.length} files and folders left behind; memory in the second half: ${(growth * 100).toFixed(1)} %`)
  process.exitCode = left.length === 0 && growth < GROWTH_MAX ? 0 : 1
} finally {
  client.close()
  await server.stop()
  await rm(domainsDir, { recursive: true, force: true })
}

/** Memory in MiB after each tenth. */
async function run (bank: Buffer): Promise<number[]> {
  const memory: number[] = []
  const headerEnd = 8 + Number(bank.readBigUInt64LE(0))
  const header = JSON.parse(bank.toString('utf8', 8, headerEnd)) as Record<string, { data_offsets: number[] }>
  const at = headerEnd + header[Object.keys(header).find((key) => key.endsWith('.running_mean'))!]!.data_offsets[0]!
  const { body, headers } = signsRequest(1)
  for (let cycle = 1; cycle <= cycles; cycle++) {
    const url = `/admin/models/traffic-signs/domains/cycle-${cycle}`
    for (const version of [1, 2]) {
      bank.writeFloatLE(cycle + version / 2, at)
      await client.call('PUT', url, bank, octets)
    }
    await client.call('POST', `${url}/activate`, Buffer.from('{"version":1}'), { 'content-type': 'application/json' })
    await client.call('POST', '/v2/models/traffic-signs/infer', body, { ...headers, 'x-domain': `cycle-${cycle}` })
    await client.call('DELETE', url)
    if (cycle % Math.max(1, Math.floor(cycles / REPORTS)) > 0) continue
    memory.push(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))![1]) / 1024)
    console.log(`${cycle} cycles: ${memory.at(-1)!.toFixed(0)} MiB`)
  }
  return memory
}
