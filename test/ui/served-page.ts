/** A service that listens, and the page of it. */
import { ADMIN, ADMIN_KEY, startService, type Service } from '../support/service.js'
import type { Page } from 'playwright-core'

export interface ServedPage {
  address: string
  service: Service
  /** A call of the admin API; the bytes of its answer. Rejects for a status of 300 and more. */
  admin (method: string, path: string, body?: Uint8Array | string, type?: string): Promise<Buffer>
  /** Opens the page in this tab, with the admin key in its session. */
  openWithKey (page: Page, hash?: string): Promise<void>
  close (): Promise<void>
}

/** `port` 0 takes a free one. */
export async function startPage (environment: Record<string, string> = {}, port = 0): Promise<ServedPage> {
  const service = await startService(environment)
  const address = await service.app.listen({ host: '127.0.0.1', port })
  return {
    address,
    service,
    async admin (method, path, body, type) {
      const response = await fetch(`${address}${path}`, {
        method,
        headers: { ...ADMIN, ...type === undefined ? {} : { 'content-type': type } },
        ...body === undefined ? {} : { body: body as Uint8Array<ArrayBuffer> }
      })
      const bytes = Buffer.from(await response.arrayBuffer())
      if (response.status >= 300) throw new Error(`${method} ${path}: ${response.status} ${bytes.toString()}`)
      return bytes
    },
    async openWithKey (page, hash = '#/') {
      await page.goto(`${address}/ui/`)
      await page.evaluate(`sessionStorage.setItem('bankswitch.key', ${JSON.stringify(ADMIN_KEY)})`)
      await page.goto(`${address}/ui/${hash}`)
      await page.reload()
      await page.getByRole('heading', { level: 1 }).waitFor()
    },
    close: () => service.close()
  }
}
