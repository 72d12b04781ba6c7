/** Who may see what, a thousand domains, a server that goes and comes back, and what axe-core finds. */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { openBrowser } from '../support/browser.js'
import { ROOT, SIGNS } from '../support/folders.js'
import { testKey, writeKeys } from '../support/keys.js'
import { openTab, violationsOf } from './browsing.js'
import { startPage, type ServedPage } from './served-page.js'
import type { Browser, Page } from 'playwright-core'

const DOMAINS = 1000

describe('the page and accessibility', () => {
  let served: ServedPage
  let browser: Browser
  before(async () => {
    [served, browser] = await Promise.all([startPage(), openBrowser()])
    const bank = await served.admin('GET', '/admin/models/traffic-signs/domains/fog/versions/1')
    await served.admin('PUT', '/admin/models/traffic-signs/domains/fog?activate=false', bank, 'application/octet-stream')
    await served.admin('PUT', '/admin/models/traffic-signs/domains/fog/canary', '{"version":2,"percent":10}', 'application/json')
    await served.admin('PUT', '/admin/models/traffic-signs/domains/fog/shadow', '{"version":2,"percent":10}', 'application/json')
  })
  after(async () => {
    await browser?.close()
    await served?.close()
  })

  const pages: Array<[name: string, hash: string, prepare: (page: Page) => Promise<unknown>]> = [
    ['domains', '#/', (page) => page.getByRole('link', { name: 'fog', exact: true }).waitFor()],
    ['domain', '#/domain/traffic-signs/fog', (page) => page.locator('.shift').waitFor()],
    ['a dialog', '#/domain/traffic-signs/fog', (page) => page.getByRole('button', { name: 'Activate…' }).click()],
    ['try', '#/try/traffic-signs/lowlight-slippery-road.png', (page) => page.locator('.bars').nth(1).waitFor()],
    ['new', '#/new/traffic-signs/fog', (page) => page.getByText('it gets a new version').waitFor()],
    ['health', '#/health', (page) => page.locator('.plot svg').first().waitFor()],
    ['nothing', '#/nowhere', (page) => page.getByText('There is no such page').waitFor()]
  ]
  for (const colorScheme of ['light', 'dark'] as const) {
    for (const [size, viewport] of [['wide', { width: 1280, height: 800 }], ['narrow', { width: 390, height: 844 }]] as const) {
      it(`has no violation of axe-core on any page, ${colorScheme} and ${size}, and none is wider than the screen`, async () => {
        const tab = await openTab(browser, { colorScheme, viewport })
        const { page } = tab
        for (const [name, hash, prepare] of pages) {
          await served.openWithKey(page, hash)
          await prepare(page)
          assert.deepEqual(await violationsOf(page), [], name)
          assert.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), `${name} is wider than the screen`)
        }
        await tab.close()
      })
    }
  }
})

describe('the page where all is keyed', () => {
  let served: ServedPage
  let browser: Browser
  let folder: string
  const infers = testKey(['infer'])
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bankswitch-test-'))
    const keys = join(folder, 'keys.json')
    await writeKeys(keys, infers)
    const environment = { BANKSWITCH_INFERENCE_KEYED: 'true', BANKSWITCH_METRICS_KEYED: 'true', BANKSWITCH_KEYS_FILE: keys };
    [served, browser] = await Promise.all([startPage(environment), openBrowser()])
  })
  after(async () => {
    await browser?.close()
    await served?.close()
    await rm(folder, { recursive: true })
  })

  it('asks for a key, and shows a key that may only infer what it may', async () => {
    const tab = await openTab(browser)
    const { page } = tab
    await page.goto(`${served.address}/ui/`)
    await page.getByText('This server asks for a key').waitFor()
    assert.deepEqual(await violationsOf(page), [])
    await page.getByRole('main').getByRole('button', { name: 'Enter a key' }).click()
    await page.getByLabel('Key', { exact: true }).fill(infers.text)
    await page.keyboard.press('Enter')
    await page.getByRole('link', { name: /lowlight\s*slippery road/ }).click()
    await page.getByText('✓ right').first().waitFor()
    await page.getByRole('link', { name: 'New domain' }).click()
    await page.getByText('This needs a key with the scope admin').waitFor()
    await page.getByRole('link', { name: 'Health' }).click()
    await page.getByText('Metrics need a key that may read').waitFor()
    await page.getByRole('link', { name: 'Domains' }).click()
    await page.getByRole('link', { name: 'fog', exact: true }).click()
    await page.getByText('Changes need a key').waitFor()
    assert.equal(await page.getByRole('button', { name: /…$/ }).count(), 0)
    await tab.close()
  })
})

describe('the page of a thousand domains', () => {
  let served: ServedPage
  let browser: Browser
  before(async () => {
    [served, browser] = await Promise.all([startPage(), openBrowser()])
    const folder = join(ROOT, 'domains', SIGNS, 'fog')
    const bank = await readFile(join(folder, (await readdir(folder)).find((name) => name.endsWith('.safetensors'))!))
    const names = Array.from({ length: DOMAINS }, (_, at) => `camera-${at}`)
    while (names.length > 0) {
      await Promise.all(names.splice(0, 50).map((name) => {
        return served.admin('PUT', `/admin/models/traffic-signs/domains/${name}`, bank, 'application/octet-stream')
      }))
    }
  })
  after(async () => {
    await browser?.close()
    await served?.close()
  })

  it('has few rows in the document, scrolls to all, and searches, sorts and pins', async () => {
    const tab = await openTab(browser)
    const { page } = tab
    await page.goto(`${served.address}/ui/`)
    await page.getByText(`${DOMAINS + 4} domains`).waitFor()
    const rows = page.locator('tbody tr:not(.space)')
    const first = page.getByRole('row').nth(1)
    assert.ok(await rows.count() < 60, String(await rows.count()))
    await page.getByRole('link', { name: 'camera-0', exact: true }).waitFor()
    await page.evaluate('document.querySelector(".scrolling").scrollTop = 1e6')
    await page.getByRole('link', { name: 'lowres', exact: true }).waitFor()
    assert.ok(await rows.count() < 60, String(await rows.count()))
    await page.evaluate('document.querySelector(".scrolling").scrollTop = 26_000')
    await page.getByRole('link', { name: 'camera-500', exact: true }).waitFor()
    await page.getByLabel('Search domains').fill('camera-77')
    await page.getByText(`11 of ${DOMAINS + 4} domains`).waitFor()
    await page.getByRole('button', { name: 'Pin camera-775' }).click()
    await first.getByRole('link', { name: 'camera-775' }).waitFor()
    await page.getByRole('button', { name: 'Domain', exact: true }).click()
    await page.getByRole('columnheader', { name: 'Domain' }).and(page.locator('[aria-sort=descending]')).waitFor()
    await first.getByRole('link', { name: 'camera-775' }).waitFor()
    await page.getByRole('row').nth(2).getByRole('link', { name: 'camera-779' }).waitFor()
    await page.getByLabel('Search domains').fill('nobody')
    await page.getByText('No domain is called so.').waitFor()
    await tab.close()
  })
})

describe('the page in a hidden tab', () => {
  it('asks nothing until it is seen again', async () => {
    const browser = await openBrowser()
    const served = await startPage()
    try {
      const tab = await openTab(browser)
      const { page } = tab
      await page.clock.install()
      await page.goto(`${served.address}/ui/`)
      await page.getByRole('link', { name: 'fog', exact: true }).waitFor()
      const hide = (isHidden: boolean) => page.evaluate(`{
        Object.defineProperty(document, 'hidden', { configurable: true, value: ${isHidden} })
        document.dispatchEvent(new Event('visibilitychange'))
      }`)
      const asksTraffic = () => page.waitForRequest(/\/traffic$/)
      // It does ask while it is seen.
      await Promise.all([asksTraffic(), page.clock.runFor(20_000)])
      await hide(true)
      await page.clock.runFor(20_000)
      const asked: string[] = []
      page.on('request', (request) => asked.push(request.url()))
      // A picture that the page holds already is no request to the server.
      const toServer = () => asked.filter((url) => !url.startsWith('blob:'))
      await page.clock.runFor(120_000)
      assert.deepEqual(toServer(), [])
      await Promise.all([asksTraffic(), hide(false)])
      await tab.close()
    } finally {
      await browser.close()
      await served.close()
    }
  })
})

describe('the page of a server that goes', () => {
  it('says so, keeps what it showed, and goes on when the server is back', async () => {
    const browser = await openBrowser()
    let served = await startPage()
    try {
      const tab = await openTab(browser)
      const { page } = tab
      await page.goto(`${served.address}/ui/`)
      await page.getByRole('link', { name: 'fog', exact: true }).waitFor()
      // While it closes, it says so to whom it still hears.
      tab.expect(0, 503)
      const { port } = new URL(served.address)
      await served.close()
      await page.getByText('The server does not answer').waitFor()
      assert.ok(await page.getByRole('link', { name: 'fog', exact: true }).isVisible())
      served = await startPage({}, Number(port))
      await page.getByText('The server does not answer').waitFor({ state: 'detached' })
      await tab.close()
    } finally {
      await browser.close()
      await served.close()
    }
  })
})
