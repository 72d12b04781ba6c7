/** A tab that is watched: whatever goes wrong in it, or leaves for another host, fails the test. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'

export interface Tab {
  page: Page
  /** From now on these statuses of answers are no faults; 0 is an answer that does not come. */
  expect (...statuses: number[]): void
  /** Asserts that nothing was wrong, and closes it. */
  close (): Promise<void>
}

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

export async function openTab (browser: Browser, options: BrowserContextOptions = {}): Promise<Tab> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce', ...options })
  const page = await context.newPage()
  const faults: string[] = []
  const expected = new Set<number>()
  page.on('pageerror', (error) => faults.push(String(error.stack)))
  page.on('console', (message) => {
    if (message.type() !== 'error' && message.type() !== 'warning') return
    // 0 for an answer that did not come.
    const [found, status = '0'] = /status of (\d+)|net::ERR/.exec(message.text()) ?? []
    if (found === undefined || !expected.has(Number(status))) faults.push(`${message.type()}: ${message.text()}`)
  })
  page.on('request', (request) => {
    const { protocol, hostname } = new URL(request.url())
    if (!['blob:', 'data:'].includes(protocol) && hostname !== '127.0.0.1') faults.push(`asks ${request.url()}`)
  })
  return {
    page,
    expect: (...statuses) => { for (const status of statuses) expected.add(status) },
    async close () {
      await context.close()
      assert.deepEqual(faults, [])
    }
  }
}

interface AxeResult {
  violations: Array<{ id: string, help: string, nodes: Array<{ html: string, failureSummary: string }> }>
}

/** What axe-core finds wrong with the page as it is. */
export async function violationsOf (page: Page): Promise<string[]> {
  // The page's own policy keeps scripts out; this one comes by the debugger.
  await page.evaluate(AXE)
  const { violations } = await page.evaluate('axe.run(document)') as AxeResult
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)}\n${failureSummary}`))
}
