import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { bareApp, type BareApp } from '../support/bare-app.js'
import type { Audience } from '#src/http/access/route-access.js'

/** What browsers send. */
const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8'

const LINKS: Readonly<Record<Audience, string[]>> = {
  all: ['/docs/', '/openapi.json', '/v1/models', '/livez', '/readyz', '/metrics'],
  public: ['/docs/', '/openapi.json', '/v1/models', '/livez', '/readyz'],
  admin: ['/docs/', '/openapi.json', '/v1/models', '/livez', '/readyz', '/metrics']
}

it('leads browsers to /ui/ where that is, and programs to what is there', async () => {
  const { app, close } = await bareApp()
  try {
    const { statusCode, headers } = await app.inject({ url: '/', headers: { accept: BROWSER } })
    assert.deepEqual([statusCode, headers.location, headers.vary], [302, 'ui/', 'accept'])
    assert.equal((await app.inject('/')).json().links.ui, '/ui/')
  } finally {
    await close()
  }
})

for (const audience of ['all', 'public', 'admin'] as const) {
  describe(`the front page without /ui for ${audience}`, () => {
    let bare: BareApp
    const get = (url: string, accept?: string) => bare.app.inject({ url, headers: accept === undefined ? {} : { accept } })
    before(async () => {
      // With everything keyed it is still open.
      const environment = { BANKSWITCH_UI: 'false', BANKSWITCH_INFERENCE_KEYED: 'true', BANKSWITCH_METRICS_KEYED: 'true' }
      bare = await bareApp(environment, { audience, engine: { isLost: false, isReady: true } })
    })
    after(() => bare.close())

    it('is JSON for programs', async () => {
      for (const accept of [undefined, '*/*', 'application/json', 'application/json, text/html;q=0.5']) {
        const response = await get('/', accept)
        assert.equal(response.statusCode, 200)
        assert.equal(response.headers['content-type'], 'application/json')
        const { name, version, links } = response.json()
        assert.deepEqual([name, version, Object.values(links)], ['bankswitch', '0.0.0-test', LINKS[audience]])
      }
    })

    it('is a page for browsers, with the same links, and nothing that a browser would run or fetch', async () => {
      const { statusCode, headers, payload } = await get('/', BROWSER)
      assert.equal(statusCode, 200)
      assert.equal(headers['content-type'], 'text/html; charset=utf-8')
      assert.match(String(headers.vary), /accept/)
      assert.match(payload, /^<!doctype html>\n<html lang="en">/)
      assert.deepEqual([...payload.matchAll(/href="([^"]*)"/g)].map(([, href]) => href), LINKS[audience])
      assert.doesNotMatch(payload, /<script|<link|src=|style=|\son\w+=|url\(|@import/)
      assert.match(payload, /prefers-color-scheme:dark/)
    })

    it('lets browsers take its own style and nothing else', async () => {
      const { headers, payload } = await get('/', BROWSER)
      const [, style] = /<style>(.*)<\/style>/s.exec(payload)!
      const policy = String(headers['content-security-policy'])
      assert.match(policy, /^default-src 'none'; /)
      assert.ok(policy.includes(`style-src 'sha256-${createHash('sha256').update(style!).digest('base64')}'`), policy)
      assert.doesNotMatch(policy, /unsafe|script-src|\*/)
      assert.equal((await get('/')).headers['content-security-policy'], "default-src 'none'; frame-ancestors 'none'")
    })

    it('links to nothing that is not there', async () => {
      for (const link of LINKS[audience]) assert.notEqual((await get(link)).statusCode, 404, link)
    })

    it('has no other form', async () => {
      const refused = await get('/', 'image/png')
      assert.deepEqual([refused.statusCode, refused.json().code], [406, 'NOT_ACCEPTABLE'])
    })
  })
}
