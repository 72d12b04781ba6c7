/**
 * Writes pictures of each page into docs/ui/, light and dark, wide and narrow, of a server with traffic on it:
 *
 *   npm run build:all && node build/test/ui/screenshots.js
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import { openBrowser } from '../support/browser.js'
import { ROOT } from '../support/folders.js'
import { seededUniform } from '../support/random.js'
import { startPage, type ServedPage } from './served-page.js'
import type { Browser, Page } from 'playwright-core'

const FOLDER = join(ROOT, 'docs/ui')
const SAMPLES = join(ROOT, 'models/traffic-signs/samples')

const SIZES = { wide: { width: 1280, height: 800 }, narrow: { width: 390, height: 844 } } as const

/** Of traffic before the first picture. */
const SECONDS = Number(process.argv[2] ?? 70)

/** On a slow machine the traffic goes on until drift has something to tell. */
const REQUESTS_MIN = 600

const QUALITY = 74

/** Of each sample, so that no two pictures that follow each other are alike. */
const VARIANTS = 24

interface Shot {
  name: string
  hash: string
  /** Until there is what is to be seen. */
  prepare: (page: Page) => Promise<unknown>
}

const SHOTS: readonly Shot[] = [
  {
    name: 'domains',
    hash: '#/',
    prepare: async (page) => {
      await page.locator('.pace').first().waitFor()
      await page.locator('.first-look li').nth(5).locator('img').waitFor()
    }
  },
  {
    name: 'try',
    hash: '#/try/traffic-signs/lowlight-speed-limit-100.png',
    prepare: (page) => page.locator('.bars').nth(1).waitFor()
  },
  {
    name: 'enlarge',
    hash: '#/try/sr-x2/noise.png',
    prepare: (page) => page.locator('.wipe img:not(.over)').waitFor()
  },
  {
    name: 'domain',
    hash: '#/domain/traffic-signs/fog',
    prepare: async (page) => {
      await page.locator('.shift').waitFor()
      await page.locator('.moved').waitFor()
    }
  },
  {
    name: 'activate',
    hash: '#/domain/traffic-signs/fog',
    prepare: (page) => page.getByRole('button', { name: 'Activate…' }).first().click()
  },
  { name: 'new', hash: '#/new/traffic-signs/camera-7', prepare: calibrate },
  { name: 'health', hash: '#/health', prepare: (page) => page.locator('.plot').nth(5).waitFor() }
]

await mkdir(FOLDER, { recursive: true })
const served = await startPage({
  BANKSWITCH_MODELS_DIR: join(ROOT, 'models'),
  BANKSWITCH_DOMAINS_DIR: join(ROOT, 'domains'),
  BANKSWITCH_DRIFT_ERT: '1000000',
  BANKSWITCH_DRIFT_SHARE: '1'
})
const browser = await openBrowser()
try {
  await prepareServer(served)
  for (const [size, viewport] of Object.entries(SIZES)) {
    for (const colorScheme of ['light', 'dark'] as const) await shoot(browser, size, viewport, colorScheme)
  }
} finally {
  await browser.close()
  await served.close()
}

async function shoot (
  browser: Browser, size: string, viewport: { width: number, height: number }, colorScheme: 'light' | 'dark'
): Promise<void> {
  const context = await browser.newContext({ viewport, colorScheme, deviceScaleFactor: 1, reducedMotion: 'reduce' })
  const page = await context.newPage()
  await served.openWithKey(page)
  for (const { name, hash, prepare } of SHOTS) {
    await page.goto(`${served.address}/ui/${hash}`)
    await page.reload()
    await prepare(page)
    const picture = await page.screenshot({ fullPage: name !== 'activate' })
    const webp = await sharp(picture).webp({ quality: QUALITY, effort: 6 }).toBuffer()
    await writeFile(join(FOLDER, `${name}-${size}-${colorScheme}.webp`), webp)
  }
  await context.close()
}

/** Traffic on all domains, a version on trial, and one that is only stored. */
async function prepareServer ({ address, admin }: ServedPage): Promise<void> {
  const files = (await readdir(SAMPLES)).filter((name) => name.endsWith('.png'))
  const random = seededUniform(1)
  const pictures: Array<{ name: string, bytes: Buffer }> = []
  for (let variant = 0; variant < VARIANTS; variant++) {
    for (const name of files) {
      const bytes = await sharp(await readFile(join(SAMPLES, name))).linear(0.9 + 0.2 * random(), 6 * random() - 3).png().toBuffer()
      pictures.push({ name, bytes })
    }
  }
  const bank = await admin('GET', '/admin/models/traffic-signs/domains/fog/versions/1')
  await admin('PUT', '/admin/models/traffic-signs/domains/fog?activate=false', bank, 'application/octet-stream')
  await admin('PUT', '/admin/models/traffic-signs/domains/fog/canary', JSON.stringify({ version: 2, percent: 10 }), 'application/json')
  await admin('PUT', '/admin/models/traffic-signs/domains/day/labels/stable', JSON.stringify({ version: 1 }), 'application/json')
  const end = performance.now() + SECONDS * 1000
  for (let at = 0; performance.now() < end || at < REQUESTS_MIN; at++) {
    const { name, bytes } = pictures[at % pictures.length]!
    const domain = name.split('-')[0]!
    await fetch(`${address}/v1/models/traffic-signs/predict`, {
      method: 'POST', body: new Uint8Array(bytes), headers: { 'content-type': 'image/png', 'x-domain': at % 3 === 0 ? 'day' : domain }
    })
  }
}

async function calibrate (page: Page): Promise<void> {
  const files = (await readdir(SAMPLES)).filter((name) => name.endsWith('.png'))
  const darkened = await Promise.all(Array.from({ length: 64 }, async (_, at) => ({
    name: `${at}.png`,
    mimeType: 'image/png',
    buffer: await sharp(await readFile(join(SAMPLES, files[at % files.length]!))).modulate({ brightness: 0.3 + at / 160 }).png().toBuffer()
  })))
  await page.locator('input[type=file]').first().setInputFiles(darkened)
  await page.getByRole('button', { name: 'Calibrate' }).click()
  await page.locator('.confidence').waitFor({ timeout: 120_000 })
}
