/** What the page shows of drift, where it is looked for and where not. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { openBrowser } from '../support/browser.js'
import { seededNormal } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'
import { binaryRequest } from '../support/wire.js'
import { openTab, violationsOf } from './browsing.js'
import { startPage, type ServedPage } from './served-page.js'
import type { Browser } from 'playwright-core'

const DAY_PICTURES = 60

/** Pictures of noise, which are not those of any domain. */
async function ask ({ service }: ServedPage, domain: string, pictures: number): Promise<void> {
  const normal = seededNormal(runSeed)
  for (let at = 0; at < pictures; at++) {
    const { payload, headers } = binaryRequest({ shape: [1, 3, 32, 32], values: Float32Array.from({ length: 3072 }, normal) })
    const { statusCode } = await service.app.inject({
      method: 'POST', url: '/v2/models/traffic-signs/infer', payload, headers: { ...headers, 'x-domain': domain }
    })
    assert.equal(statusCode, 200)
    await service.engine.driftSettled()
  }
}

describe('the page where drift is looked for', () => {
  let served: ServedPage
  let browser: Browser
  before(async () => {
    [served, browser] = await Promise.all([startPage({ BANKSWITCH_DRIFT_ERT: '1000', BANKSWITCH_DRIFT_SHARE: '1' }), openBrowser()])
    await ask(served, 'day', DAY_PICTURES)
    await ask(served, 'fog', 1)
  })
  after(async () => {
    await browser?.close()
    await served?.close()
  })

  it('tells it of each domain in words, and sorts by it', async () => {
    const tab = await openTab(browser)
    const { page } = tab
    await page.goto(`${served.address}/ui/`)
    const cell = (domain: string) => page.getByRole('row', { name: new RegExp(`^${domain}`) }).locator('td.drift')
    await cell('day').getByText('drifting').waitFor()
    assert.match(await cell('day').innerText(), /60 pictures/)
    assert.match(await cell('fog').innerText(), /not enough seen\s+1 picture$/)
    assert.equal(await cell('lowres').innerText(), 'no data yet')
    await page.getByRole('button', { name: 'Drift', exact: true }).click()
    const names = await page.locator('tbody th a').allInnerTexts()
    assert.deepEqual(names.slice(0, 2), ['day', 'fog'])
    await tab.close()
  })

  for (const colorScheme of ['light', 'dark'] as const) {
    it(`shows at a domain what moved and where to, ${colorScheme}, also on a narrow screen`, async () => {
      const tab = await openTab(browser, { colorScheme, viewport: { width: 390, height: 844 } })
      const { page } = tab
      await page.goto(`${served.address}/ui/#/domain/traffic-signs/day`)
      const drift = page.getByRole('region', { name: 'Drift' })
      await drift.getByText('drifting', { exact: true }).waitFor()
      const text = await drift.innerText()
      assert.match(text, /Pictures looked at\s+60/)
      assert.match(text, /Streams that drift\s+1 of 1/)
      assert.match(text, /Nearest other domain\s+(fog|lowlight|lowres)/)
      const table = drift.getByRole('table', { name: /^What moved most/ })
      assert.equal(await table.getByRole('row').count(), 1 + 5)
      assert.match(await table.getByRole('row').nth(1).innerText(), /channel \d+\s+(mean|spread)\s+[+−]\d/)
      assert.deepEqual(await violationsOf(page), [])
      assert.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), 'wider than the screen')
      await tab.close()
    })
  }

  it('says what is not known, never 0', async () => {
    const tab = await openTab(browser)
    const { page } = tab
    const drift = page.getByRole('region', { name: 'Drift' })
    await page.goto(`${served.address}/ui/#/domain/traffic-signs/lowlight`)
    await drift.getByText('no data yet').waitFor()
    await page.goto(`${served.address}/ui/#/domain/traffic-signs/fog`)
    await drift.getByText('not enough seen').waitFor()
    assert.match(await drift.innerText(), /Evidence of drift\s+–/)
    assert.equal(await drift.getByRole('table').count(), 0)
    await tab.close()
  })
})

describe('the page where nobody looks for drift', () => {
  it('has no column for it, and says at a domain how to ask for it', async () => {
    const [served, browser] = await Promise.all([startPage(), openBrowser()])
    try {
      const tab = await openTab(browser)
      const { page } = tab
      await page.goto(`${served.address}/ui/`)
      await page.getByText('no data yet').first().waitFor()
      assert.equal(await page.getByRole('columnheader', { name: 'Drift' }).count(), 0)
      await page.goto(`${served.address}/ui/#/domain/traffic-signs/day`)
      await page.getByRole('region', { name: 'Drift' }).getByText('BANKSWITCH_DRIFT_ERT').waitFor()
      await tab.close()
    } finally {
      await browser.close()
      await served.close()
    }
  })
})
