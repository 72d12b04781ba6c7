/** A real browser: Debian's Chromium, driven by playwright-core. */
import { existsSync } from 'node:fs'
import { chromium, type Browser } from 'playwright-core'

const PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** Nothing but what the page asks for: no updates, no first-run tour, no other protocol. */
const ARGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'
]

/** Rejects, saying what to install, where there is no Chromium. Its profile is new and goes with it. */
export async function openBrowser (): Promise<Browser> {
  const executablePath = PATHS.find((path) => existsSync(path))
  if (executablePath === undefined) {
    throw new Error(`there is no Chromium at ${PATHS.join(' or ')}: apt-get install -y chromium`)
  }
  return await chromium.launch({ executablePath, args: ARGS })
}
