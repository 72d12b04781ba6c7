/** What a newcomer does, and what a page must not do. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { openBrowser } from '../support/browser.js'
import { ROOT } from '../support/folders.js'
import { ADMIN_KEY } from '../support/service.js'
import { openTab } from './browsing.js'
import { startPage, type ServedPage } from './served-page.js'
import type { Browser } from 'playwright-core'

const SAMPLE = join(ROOT, 'models/traffic-signs/samples/lowlight-speed-limit-100.png')

const MARKUP = '<img src=x onerror="document.title=1"><b>bold</b>'

describe('the page, to a newcomer', () => {
  let served: ServedPage
  let browser: Browser
  before(async () => {
    [served, browser] = await Promise.all([startPage(), openBrowser()])
  })
  after(async () => {
    await browser?.close()
    await served?.close()
  })

  it('is where a browser is led, and one click on a sample shows it under two banks', async () => {
    const tab = await openTab(browser)
    const { page } = tab
    await page.goto(served.address)
    assert.equal(new URL(page.url()).pathname, '/ui/')
    await page.getByRole('link', { name: /lowlight\s*speed limit 100/ }).click()
    const card = (bank: string) => page.getByRole('region', { name: `Under ${bank}` })
    await card('lowlight').getByText('✓ right').waitFor()
    await card('day').getByText('✗ wrong').waitFor()
    assert.equal(await card('day').getByRole('listitem').count(), 5)
    assert.match(await card('lowlight').getByRole('listitem').first().innerText(), /speed limit 100\s+98 %/)
    await card('lowlight').getByText(/^like its pictures/).waitFor()
    await card('day').getByText('not like its pictures').waitFor()
    assert.equal(await page.evaluate('document.title'), 'Try a picture · bankswitch')
    await tab.close()
  })

  it('takes a picture that is dropped, pasted, or from the camera', async () => {
    const tab = await openTab(browser)
    const { page } = tab
    await page.goto(`${served.address}/ui/#/try`)
    const base64 = (await readFile(SAMPLE)).toString('base64')
    const transfer = (type: string, kind: string) => `{
      const bytes = Uint8Array.from(atob('${base64}'), (c) => c.charCodeAt(0))
      const data = new DataTransfer()
      data.items.add(new File([bytes], '${kind}.png', { type: 'image/png' }))
      const target = ${type === 'drop' ? 'document.querySelector(".drop")' : 'document'}
      const init = { bubbles: true, cancelable: true, ${type === 'drop' ? 'dataTransfer' : 'clipboardData'}: data }
      target.dispatchEvent(new ${type === 'drop' ? 'DragEvent' : 'ClipboardEvent'}('${type}', init))
    }`
    await page.locator('.drop').waitFor()
    await page.evaluate(transfer('drop', 'dropped'))
    await page.getByText('dropped.png').waitFor()
    await page.locator('.bars').nth(1).waitFor()
    await page.evaluate(transfer('paste', 'pasted'))
    await page.getByText('pasted picture').waitFor()
    await page.getByRole('button', { name: 'Camera' }).click()
    await page.getByRole('button', { name: 'Take the picture' }).click()
    await page.locator('figcaption').getByText('camera').waitFor()
    await page.locator('.bars').nth(1).waitFor()
    await tab.close()
  })

  it('shows markup of the server as text', async () => {
    const body = JSON.stringify({ description: MARKUP, layers: await layersOf(served) })
    await served.admin('PUT', '/admin/models/traffic-signs/domains/marked', body, 'application/json')
    const tab = await openTab(browser)
    const { page } = tab
    await page.goto(`${served.address}/ui/`)
    await page.getByText(MARKUP).waitFor()
    await page.getByRole('link', { name: 'marked' }).click()
    await page.getByRole('heading', { level: 1, name: 'marked' }).waitFor()
    await page.getByText(MARKUP).waitFor()
    assert.equal(await page.locator('main b').count(), 0)
    assert.equal(await page.evaluate('document.title'), 'marked · bankswitch')
    await tab.close()
  })

  it('says "no data yet" where there is none, never 0', async () => {
    const tab = await openTab(browser)
    await tab.page.goto(`${served.address}/ui/`)
    const row = tab.page.getByRole('row', { name: /^lowres/ })
    await row.getByText('no data yet').waitFor()
    assert.doesNotMatch((await row.innerText()).replace(/version 1|\d+ \w+ ago|16 pixels|x 16|16/g, ''), /0/)
    await tab.close()
  })

  it('refuses a wrong key in words, takes the right one, and keeps it out of addresses and beyond the tab', async () => {
    const tab = await openTab(browser)
    const { page } = tab
    const asked: string[] = []
    page.on('request', (request) => asked.push(request.url()))
    await page.goto(`${served.address}/ui/#/health`)
    await page.getByRole('button', { name: 'Enter a key' }).click()
    tab.expect(401)
    await page.getByLabel('Key', { exact: true }).fill('a-wrong-key-of-somebody')
    await page.getByRole('button', { name: 'Use it' }).click()
    await page.getByText('this key is not known').waitFor()
    await page.getByLabel('Key', { exact: true }).fill(ADMIN_KEY)
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: 'Key admin' }).waitFor()
    await page.getByRole('heading', { name: 'Admin calls' }).waitFor()
    await page.reload()
    await page.getByRole('button', { name: 'Key admin' }).waitFor()
    assert.deepEqual(asked.filter((url) => url.includes(ADMIN_KEY)), [])
    assert.equal(await page.evaluate('JSON.stringify(localStorage) + document.cookie'), '{}')
    const other = await openTab(browser)
    await other.page.goto(`${served.address}/ui/`)
    await other.page.getByRole('button', { name: 'Enter a key' }).waitFor()
    await other.close()
    await tab.close()
  })

  it('can be used by the keyboard alone', async () => {
    const tab = await openTab(browser)
    const { page } = tab
    await page.goto(`${served.address}/ui/`)
    await page.getByRole('heading', { level: 1, name: 'Domains' }).waitFor()
    await page.keyboard.press('Tab')
    assert.equal(await page.evaluate('document.activeElement.textContent'), 'Skip to the content')
    await page.keyboard.press('Enter')
    assert.equal(await page.evaluate('document.activeElement.tagName'), 'MAIN')
    await page.getByRole('button', { name: 'Enter a key' }).focus()
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor()
    for (let at = 0; at < 6; at++) await page.keyboard.press('Tab')
    assert.equal(await page.evaluate('document.activeElement === document.body || document.activeElement.closest("dialog") !== null'), true)
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    assert.match(await page.evaluate('document.activeElement.textContent'), /Enter a key/)
    await tab.close()
  })
})

/** Of one bank, by the file that the server gives. */
async function layersOf ({ admin, service }: ServedPage): Promise<object> {
  const { compiled } = (await service.app.inject('/v1/models/traffic-signs')).json() as { compiled: { layers: Array<{ key: string, channels: number }> } }
  await admin('GET', '/admin/models/traffic-signs/domains/day/versions')
  return Object.fromEntries(compiled.layers.map(({ key, channels }) => [key, { mean: Array(channels).fill(0.1), variance: Array(channels).fill(1) }]))
}
