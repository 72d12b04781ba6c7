/**
 * What the page at /ui costs: when it is there, what is sent for it, and what inference notices of it while it is open.
 * Needs Chromium. `--domains` registers so many more first.
 *
 *   npm run bench -- ui [--rounds 12 --seconds 8 --openings 9 --domains 0]
 */
import { openBrowser } from '../test/support/browser.js'
import { Client } from './client.js'
import { makeLoad } from './load.js'
import { openBench } from './report.js'
import { signsRequest, startBenchServer } from './server.js'
import { markdownTable, quantile } from '#src/cli/measure.js'
import type { Browser, Page } from 'playwright-core'

const { values, publish } = openBench('ui', { rounds: '12', seconds: '8', openings: '9', domains: '0' })

const CONNECTIONS = 4

interface Timing {
  paint: number
  table: number
  files: number
  whole: number
}

const MEASURE = `(() => {
  const entries = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  const files = entries.filter(({ name }) => new URL(name).pathname.startsWith('/ui/'))
  const sum = (all) => all.reduce((bytes, { transferSize }) => bytes + transferSize, 0)
  return {
    paint: performance.getEntriesByName('first-contentful-paint')[0].startTime,
    table: performance.now(),
    files: sum(files),
    whole: sum(entries)
  }
})()`

const server = await startBenchServer()
const client = new Client(server)
const browser = await openBrowser()
try {
  await registerMore(Number(values.domains))
  const { rows, bytes } = await openings(browser, Number(values.openings))
  rows.push(...await beside(browser, Number(values.rounds)))
  await publish(`${4 + Number(values.domains)} domains of traffic-signs; ${bytes}.\n\n${markdownTable(['', 'median', 'quartiles'], rows)}`)
} finally {
  await browser.close()
  client.close()
  await server.stop()
}

async function registerMore (count: number): Promise<void> {
  const bank = await client.call('GET', '/admin/models/traffic-signs/domains/fog/versions/1')
  for (let at = 0; at < count; at++) {
    await client.call('PUT', `/admin/models/traffic-signs/domains/camera-${at}`, bank, { 'content-type': 'application/octet-stream' })
  }
}

/** Each in a context of its own, with nothing in its cache. */
async function openings (browser: Browser, count: number): Promise<{ rows: string[][], bytes: string }> {
  const timings: Timing[] = []
  for (let at = 0; at < count; at++) {
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.goto(`${server.address}/ui/`)
    await page.locator('.domains').nth(2).waitFor()
    timings.push(await page.evaluate(MEASURE))
    await context.close()
  }
  const kilobytes = (read: (timing: Timing) => number) => `${(quantile(timings.map(read), 0.5) / 1000).toFixed(1)} kB`
  return {
    rows: [
      row('first paint, ms', timings.map(({ paint }) => paint), 0),
      row('all domains are there, ms', timings.map(({ table }) => table), 0)
    ],
    bytes: `${kilobytes(({ files }) => files)} are sent for the page itself, ${kilobytes(({ whole }) => whole)} with the data and pictures that it shows first`
  }
}

/** Turns with and without, the order changing from round to round. */
async function beside (browser: Browser, rounds: number): Promise<string[][]> {
  const context = await browser.newContext()
  const pages = [await context.newPage(), await context.newPage()]
  await pages[0]!.goto(`${server.address}/ui/`)
  await pages[0]!.evaluate(`sessionStorage.setItem('bankswitch.key', '${server.adminKey}')`)
  await throughput()
  const [alone, open, ratios]: [number[], number[], number[]] = [[], [], []]
  for (let round = 0; round < rounds; round++) {
    const turns = round % 2 === 0 ? ['alone', 'open'] : ['open', 'alone']
    const measured: Record<string, number> = {}
    for (const turn of turns) {
      await show(pages, turn === 'open')
      measured[turn] = await throughput()
    }
    alone.push(measured.alone!)
    open.push(measured.open!)
    ratios.push(measured.open! / measured.alone!)
  }
  await context.close()
  return [
    row('inferences a second, no page open', alone, 0),
    row('inferences a second, two tabs open', open, 0),
    row('ratio', ratios, 3)
  ]
}

async function show ([domains, health]: Page[], isOpen: boolean): Promise<void> {
  await domains!.goto(isOpen ? `${server.address}/ui/#/` : 'about:blank')
  await health!.goto(isOpen ? `${server.address}/ui/#/health` : 'about:blank')
  if (!isOpen) return
  await domains!.locator('.domains').nth(2).waitFor()
  await health!.locator('.plot').nth(5).waitFor()
}

async function throughput (): Promise<number> {
  const { body, headers } = signsRequest(1)
  const { requestsPerSecond, errors, refused } = await makeLoad({
    url: `${server.address}/v2/models/traffic-signs/infer`,
    connections: CONNECTIONS,
    seconds: Number(values.seconds),
    body,
    headers: { ...headers, 'x-domain': 'day' }
  })
  if (errors + refused > 0) throw new Error(`${errors} errors and ${refused} refusals`)
  return requestsPerSecond
}

function row (name: string, all: number[], digits: number): string[] {
  const [low, median, high] = [0.25, 0.5, 0.75].map((share) => quantile(all, share).toFixed(digits))
  return [name, median!, `${low}–${high}`]
}
