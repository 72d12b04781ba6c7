/**
 * Domains that come and go: registers two versions, activates the first, asks once and deletes, many times over. Prints
 * memory and what is left in the store's folder; exit code 1 when files are left behind or memory goes on growing.
 *
 *   npm run bench -- cycles [--cycles 10000]
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { variantOf } from '../test/support/signs.js'
import { Client } from './client.js'
import { openBench } from './report.js'
import { memoryOf, signsRequest, startBenchServer } from './server.js'

const { values, publish } = openBench('cycles', { cycles: '10000' })
const cycles = Number(values.cycles)

const REPORTS = 10
const GROWTH_MAX = 0.05

const storeDir = await mkdtemp(join(tmpdir(), 'bankswitch-cycles-'))
const server = await startBenchServer({ BANKSWITCH_STORE: storeDir })
const client = new Client(server)
const octets = { 'content-type': 'application/octet-stream' }
try {
  const bank = await client.call('GET', '/admin/models/traffic-signs/domains/day/versions/1')
  const before = await readdir(storeDir, { recursive: true })
  const memory = await run(bank)
  const left = (await readdir(storeDir, { recursive: true })).filter((path) => !before.includes(path))
  const half = memory.slice(memory.length >> 1)
  const growth = half.at(-1)! / half[0]! - 1
  await publish(`${cycles.toLocaleString('en')} times two versions registered, one activated, asked and the domain deleted: ${half[0]!.toFixed(0)} MiB ` +
    `half-way, ${half.at(-1)!.toFixed(0)} MiB at the end (${(growth * 100).toFixed(1)} %), ${left.length} files and folders left behind.`)
  process.exitCode = left.length === 0 && growth < GROWTH_MAX ? 0 : 1
} finally {
  client.close()
  await server.stop()
  await rm(storeDir, { recursive: true, force: true })
}

/** Memory in MiB after each tenth. */
async function run (bank: Buffer): Promise<number[]> {
  const memory: number[] = []
  const { body, headers } = signsRequest(1)
  for (let cycle = 1; cycle <= cycles; cycle++) {
    const url = `/admin/models/traffic-signs/domains/cycle-${cycle}`
    for (const version of [1, 2]) {
      await client.call('PUT', url, variantOf(bank, cycle + version / 2), octets)
    }
    await client.call('POST', `${url}/activate`, Buffer.from('{"version":1}'), { 'content-type': 'application/json' })
    await client.call('POST', '/v2/models/traffic-signs/infer', body, { ...headers, 'x-domain': `cycle-${cycle}` })
    await client.call('DELETE', url)
    if (cycle % Math.max(1, Math.floor(cycles / REPORTS)) > 0) continue
    memory.push(memoryOf(server).rss)
    console.error(`${cycle} cycles: ${memory.at(-1)!.toFixed(0)} MiB`)
  }
  return memory
}
