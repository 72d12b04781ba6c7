/** Changing domains by the page: registering, calibrating, activating, a canary, going back. */
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import sharp from 'sharp'
import { openBrowser } from '../support/browser.js'
import { ROOT, SIGNS } from '../support/folders.js'
import { seededUniform } from '../support/random.js'
import { runSeed } from '../support/run-seed.js'
import { openTab } from './browsing.js'
import { startPage, type ServedPage } from './served-page.js'
import type { Browser } from 'playwright-core'

const FOG = join(ROOT, 'domains', SIGNS, 'fog')

const CALIBRATED_WITHIN_MS = 120_000

describe('the page, to an admin', () => {
  let served: ServedPage
  let browser: Browser
  let bank: Buffer
  before(async () => {
    [served, browser] = await Promise.all([startPage(), openBrowser()])
    bank = await readFile(join(FOG, (await readdir(FOG)).find((name) => name.endsWith('.safetensors'))!))
  })
  after(async () => {
    await browser?.close()
    await served?.close()
  })
  const domain = async (name: string) => (await served.service.app.inject(`/v1/models/traffic-signs/domains/${name}`)).json()

  it('registers a bank that is dropped', async () => {
    const tab = await openTab(browser)
    const { page } = tab
    await served.openWithKey(page, '#/new')
    await page.getByLabel('Name of the domain').fill('mist')
    await page.evaluate(`{
      const bytes = Uint8Array.from(atob('${bank.toString('base64')}'), (c) => c.charCodeAt(0))
      const data = new DataTransfer()
      data.items.add(new File([bytes], 'mist.safetensors'))
      document.querySelector('.drop').dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: data }))
    }`)
    await page.getByText('traffic-signs/mist is new').waitFor()
    await page.getByRole('button', { name: 'Store and activate' }).click()
    await page.getByText('answers requests now').waitFor()
    assert.equal((await domain('mist')).active, 1)
    await page.getByRole('link', { name: 'See the domain' }).click()
    await page.getByRole('heading', { level: 1, name: 'mist' }).waitFor()
    await tab.close()
  })

  it('tells what is wrong with a file that is no bank', async () => {
    const tab = await openTab(browser)
    const { page } = tab
    tab.expect(400)
    await served.openWithKey(page, '#/new')
    await page.getByLabel('Name of the domain').fill('broken')
    await page.locator('input[type=file]').first().setInputFiles({ name: 'a.safetensors', mimeType: '', buffer: Buffer.from('nothing') })
    await page.getByRole('button', { name: 'Store only' }).click()
    await page.getByRole('alert').getByText('SAFETENSORS_MALFORMED').waitFor()
    await tab.close()
  })

  it('calibrates from 64 pictures, tells how sure it is, and activates what was made', async (t) => {
    t.diagnostic(`TEST_SEED=${runSeed}`)
    const uniform = seededUniform(runSeed)
    const samples = join(ROOT, 'models', SIGNS, 'samples')
    const sources = await Promise.all((await readdir(samples)).filter((name) => name.endsWith('.png')).map((name) => readFile(join(samples, name))))
    const pictures = await Promise.all(Array.from({ length: 64 }, async (_, at) => ({
      name: `${at}.png`,
      mimeType: 'image/png',
      buffer: await sharp(sources[at % sources.length]).modulate({ brightness: 0.3 + 0.5 * uniform() }).png().toBuffer()
    })))
    const tab = await openTab(browser)
    const { page } = tab
    await served.openWithKey(page, '#/new')
    await page.getByLabel('Name of the domain').fill('camera-7')
    await page.locator('input[type=file]').first().setInputFiles([...pictures, { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('no picture') }])
    await page.getByText('Calibrate on 64 pictures').waitFor()
    await page.getByText('1 other file left out').waitFor()
    await page.getByRole('button', { name: 'Calibrate' }).click()
    await page.getByText('of 64 images used').waitFor({ timeout: CALIBRATED_WITHIN_MS })
    assert.equal(await page.locator('.confidence tbody tr').count(), 15)
    assert.equal((await domain('camera-7')).active, null)
    await page.getByRole('button', { name: 'Activate version 1' }).click()
    await page.getByText('answers requests now').waitFor()
    assert.equal((await domain('camera-7')).active, 1)
    await page.getByRole('link', { name: 'Health' }).click()
    await page.getByRole('row', { name: /traffic-signs\/camera-7.*succeeded/ }).waitFor()
    await page.getByRole('row', { name: /activate 200/ }).first().waitFor()
    await tab.close()
  })

  it('starts a canary, activates, rolls back and deletes, each after saying what will change', async () => {
    await served.admin('PUT', '/admin/models/traffic-signs/domains/fog?activate=false', bank, 'application/octet-stream')
    const tab = await openTab(browser)
    const { page } = tab
    await served.openWithKey(page, '#/domain/traffic-signs/fog')
    const dialog = page.getByRole('dialog')
    const second = page.getByRole('row', { name: /^2 / })
    await second.getByRole('button', { name: 'Canary…' }).click()
    await dialog.getByText('Version 2 will answer a share of the requests for traffic-signs/fog').waitFor()
    await dialog.getByLabel('Share of the requests').fill('10')
    await dialog.getByRole('button', { name: 'Start the canary' }).click()
    await page.getByText('Version 2 answers 10 % of the requests as canary.').waitFor()
    assert.deepEqual((await domain('fog')).canary, { version: 2, percent: 10 })
    await second.getByRole('button', { name: 'Activate…' }).click()
    await dialog.getByText('will be answered by version 2. Version 1 answers now.').waitFor()
    await dialog.getByRole('button', { name: 'Activate version 2' }).click()
    await second.getByText('active').waitFor()
    await page.getByRole('button', { name: 'Roll back…' }).click()
    await dialog.getByRole('button', { name: 'Roll back' }).click()
    await page.getByRole('row', { name: /^1 active/ }).waitFor()
    assert.equal((await domain('fog')).active, 1)
    await second.getByRole('button', { name: 'Delete…' }).click()
    await dialog.getByRole('button', { name: 'Delete version 2' }).click()
    await second.waitFor({ state: 'detached' })
    await tab.close()
  })

  it('does not overwrite what somebody else has changed meanwhile', async () => {
    await served.admin('PUT', '/admin/models/traffic-signs/domains/lowres?activate=false', bank, 'application/octet-stream')
    const tab = await openTab(browser)
    const { page } = tab
    await served.openWithKey(page, '#/domain/traffic-signs/lowres')
    await page.getByRole('row', { name: /^2 / }).waitFor()
    // The page does not learn of it: what it polls does not come through any more.
    await page.route('**/domains/lowres', (route) => route.abort())
    tab.expect(0, 412)
    await served.admin('PUT', '/admin/models/traffic-signs/domains/lowres/labels/mine', '{"version":1}', 'application/json')
    await page.getByRole('row', { name: /^2 / }).getByRole('button', { name: 'Activate…' }).click()
    await page.getByRole('button', { name: 'Activate version 2' }).click()
    await page.getByRole('alert').getByText('PRECONDITION_FAILED').waitFor()
    assert.equal((await domain('lowres')).active, 1)
    await tab.close()
  })

  it('compares the layers of two banks, and shows the statistics of each', async () => {
    const tab = await openTab(browser)
    const { page } = tab
    await served.openWithKey(page, '#/domain/traffic-signs/lowlight')
    await page.getByText('How far from day').waitFor()
    await page.getByText('Table of shifts by layer').click()
    assert.equal(await page.locator('.shift tbody tr').count(), 15)
    await page.getByText('Statistics of each layer').click()
    await page.getByRole('columnheader', { name: 'variance: least · median · most' }).waitFor()
    await tab.close()
  })
})
