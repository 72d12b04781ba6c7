import assert from 'node:assert/strict'
import { once } from 'node:events'
import { rename, writeFile } from 'node:fs/promises'
import { request as requestHttps } from 'node:https'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it, type TestContext } from 'node:test'
import { connect } from 'node:tls'
import { loadSettings } from '#src/config/load.js'
import { startServer } from '#src/http/server.js'
import { openTls } from '#src/http/tls.js'
import { createLogger } from '#src/observability/logger.js'
import { createMetrics } from '#src/observability/metrics.js'
import { makeCertificate, type TestCertificate } from '../support/certificate.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'
import { ADMIN, startService, type Service } from '../support/service.js'
import type { IncomingMessage } from 'node:http'

const quiet = createLogger('silent')

describe('the server', () => {
  let service: Service
  before(async () => { service = await startService() })
  after(() => service.close())

  /** A server around the service's engine, which outlives it. */
  const start = async (t: TestContext, environment: Record<string, string>) => {
    const { engine, keys } = service
    const lasting = new Proxy(engine, {
      get (target, name) {
        const value: unknown = Reflect.get(target, name, target)
        return name === 'close' ? async () => {} : typeof value === 'function' ? value.bind(target) : value
      }
    })
    const settings = loadSettings({ BANKSWITCH_PORT: '0', ...environment }, [])
    const server = await startServer({ engine: lasting, settings, logger: quiet, metrics: createMetrics(), keys, version: 'x' })
    t.after(() => server.close())
    return server
  }
  const status = async (base: string | undefined, path: string, headers = {}) => (await fetch(`${base}${path}`, { headers })).status

  it('serves everything at one port by default', async (t) => {
    const { address, adminAddress } = await start(t, {})
    assert.equal(adminAddress, undefined)
    for (const path of ['/livez', '/v1/models', '/metrics', '/admin/jobs', '/docs/']) {
      assert.equal(await status(address, path, ADMIN), 200, path)
    }
  })

  it('serves the admin API and metrics at a port of their own, and there only', async (t) => {
    const { address, adminAddress } = await start(t, { BANKSWITCH_ADMIN_PORT: '0' })
    assert.match(adminAddress!, /^http:\/\/127\.0\.0\.1:\d+$/)
    for (const path of ['/livez', '/readyz', '/v2/health/ready', '/docs/', '/openapi.json']) {
      assert.equal(await status(address, path), 200, path)
      assert.equal(await status(adminAddress, path), 200, path)
    }
    for (const path of ['/metrics', '/admin/jobs', '/admin/models/traffic-signs/domains/day/versions']) {
      assert.equal(await status(address, path, ADMIN), 404, path)
      assert.equal(await status(adminAddress, path, ADMIN), 200, path)
    }
    for (const path of ['/v1/models', '/v2/models', '/v2/models/traffic-signs']) {
      assert.equal(await status(address, path), 200, path)
      assert.equal(await status(adminAddress, path, ADMIN), 200, path)
    }
    for (const base of [address, adminAddress]) assert.equal(await status(base, '/ui/'), 200)
    assert.equal(await status(adminAddress, '/v1/models/traffic-signs/predict'), 404)
    assert.equal(await status(adminAddress, '/admin/jobs'), 401)
  })

  it('answers the same at the public port for a route of the admin API as for none, key or not', async (t) => {
    const { address } = await start(t, { BANKSWITCH_ADMIN_PORT: '0' })
    const answer = async (method: string, path: string, headers = {}) => {
      const response = await fetch(`${address}${path}`, { method, headers })
      const { error, code, details } = await response.json() as { error: string, code: string, details: { received: string } }
      assert.equal(details.received, path)
      return { status: response.status, error, code }
    }
    const none = await answer('GET', '/nowhere')
    assert.equal(none.code, 'ROUTE_NOT_FOUND')
    for (const method of ['GET', 'PUT', 'DELETE', 'POST', 'PATCH']) {
      for (const headers of [{}, ADMIN]) {
        assert.deepEqual(await answer(method, '/admin/models/traffic-signs/domains/day', headers), none, method)
      }
      if (method !== 'GET') assert.deepEqual(await answer(method, '/v2/repository/models/traffic-signs@day/load'), none, method)
    }
  })

  it('documents at each port what is there', async (t) => {
    const { address, adminAddress } = await start(t, { BANKSWITCH_ADMIN_PORT: '0' })
    const paths = async (base: string | undefined) => {
      const { paths } = await (await fetch(`${base}/openapi.json`)).json() as { paths: object }
      return Object.keys(paths)
    }
    const [shown, shownToAdmins] = [await paths(address), await paths(adminAddress)]
    assert.ok(shown.includes('/v2/models/{model}/infer') && !shown.some((path) => /^\/(admin|metrics)/.test(path)), shown.join())
    assert.ok(shownToAdmins.includes('/admin/jobs') && !shownToAdmins.includes('/v2/models/{model}/infer'), shownToAdmins.join())
  })

  it('leaves no port open when the other cannot be had', async (t) => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    t.after(() => taken.close())
    const free = createServer().listen(0, '127.0.0.1')
    await once(free, 'listening')
    const { port } = free.address() as AddressInfo
    await new Promise((resolve) => free.close(resolve))
    const environment = { BANKSWITCH_ADMIN_PORT: String(port), BANKSWITCH_PORT: String((taken.address() as AddressInfo).port) }
    await assert.rejects(start(t, environment), { code: 'EADDRINUSE' })
    await assert.rejects(fetch(`http://127.0.0.1:${port}/livez`))
  })

  describe('with TLS', () => {
    const prepare = async (t: TestContext) => {
      const folder = await temporaryFolder(t)
      const files = { BANKSWITCH_TLS_CERTIFICATE_FILE: join(folder, 'crt.pem'), BANKSWITCH_TLS_KEY_FILE: join(folder, 'key.pem') }
      const write = async ({ cert, key }: TestCertificate) => {
        await writeFile(files.BANKSWITCH_TLS_CERTIFICATE_FILE, cert)
        await writeFile(files.BANKSWITCH_TLS_KEY_FILE, key)
      }
      return { files, write }
    }
    const get = async (address: string, { cert }: TestCertificate, path: string) => {
      const { port } = new URL(address)
      const request = requestHttps({ host: '127.0.0.1', port, path, ca: cert, servername: 'localhost', agent: false, headers: ADMIN }).end()
      const [response] = await once(request, 'response') as [IncomingMessage]
      response.resume()
      return response.statusCode
    }

    it('speaks HTTPS at both ports, under the given certificate', async (t) => {
      const { files, write } = await prepare(t)
      const certificate = makeCertificate(1)
      await write(certificate)
      const { address, adminAddress } = await start(t, { ...files, BANKSWITCH_ADMIN_PORT: '0' })
      assert.match(address, /^https:/)
      assert.equal(await get(address, certificate, '/v1/models'), 200)
      assert.equal(await get(adminAddress!, certificate, '/admin/jobs'), 200)
      await assert.rejects(get(address, makeCertificate(2), '/livez'), { code: /SELF_SIGNED|UNABLE_TO_VERIFY/ })
      await assert.rejects(fetch(address.replace('https', 'http')))
    })

    it('takes a new certificate for new connections, and keeps those that there are', async (t) => {
      const { files, write } = await prepare(t)
      const [first, second] = [makeCertificate(1), makeCertificate(2)]
      await write(first)
      const { address } = await start(t, files)
      const port = Number(new URL(address).port)
      const old = connect({ host: '127.0.0.1', port, ca: first.cert, servername: 'localhost' })
      await once(old, 'secureConnect')
      t.after(() => old.destroy())
      await write(second)
      // The server looks by itself; until it has, new connections see the first certificate.
      for (;;) {
        const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false })
        await once(socket, 'secureConnect')
        const { serialNumber } = socket.getPeerCertificate()
        socket.destroy()
        if (serialNumber === '02') break
        assert.equal(serialNumber, '01')
      }
      assert.equal(await get(address, second, '/livez'), 200)
      old.write('GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n')
      const [answer] = await once(old, 'data') as [Buffer]
      assert.match(answer.toString(), /^HTTP\/1\.1 200/)
    })
  })
})

describe('TLS files', () => {
  const prepare = async (t: TestContext) => {
    const folder = await temporaryFolder(t)
    const settings = { tlsCertificateFile: join(folder, 'crt'), tlsKeyFile: join(folder, 'key') }
    const write = async (certificate: string, key: string) => {
      await writeFile(settings.tlsCertificateFile, certificate)
      await writeFile(settings.tlsKeyFile, key)
    }
    return { settings, write }
  }

  it('are none without settings, and come in pairs', async () => {
    assert.equal(await openTls({}, quiet), undefined)
    for (const settings of [{ tlsCertificateFile: 'x' }, { tlsKeyFile: 'x' }]) await assert.rejects(openTls(settings, quiet), hasCode('CONFIG_INVALID'))
  })

  it('are refused at the start when they are missing, no PEM, or of two pairs', async (t) => {
    const { settings, write } = await prepare(t)
    const [one, two] = [makeCertificate(1), makeCertificate(2)]
    await assert.rejects(openTls(settings, quiet), hasCode('CONFIG_INVALID'))
    for (const [certificate, key] of [['no PEM', one.key], [one.cert, 'no PEM'], [one.cert, two.key], [one.cert, '']] as const) {
      await write(certificate, key)
      await assert.rejects(openTls(settings, quiet), (error: unknown) => {
        assert.ok(key === '' || !String((error as Error).message).includes(key))
        return hasCode('CONFIG_INVALID')(error)
      })
    }
  })

  it('are replaced as a pair: one new file alone leaves the old pair in force', async (t) => {
    const { settings, write } = await prepare(t)
    const [one, two] = [makeCertificate(1), makeCertificate(2)]
    await write(one.cert, one.key)
    const errors: string[] = []
    const tls = (await openTls(settings, createLogger('error', { write: (line: string) => { errors.push(line) } })))!
    t.after(() => tls.close())
    const told: string[] = []
    tls.watch(({ cert }) => told.push(cert.toString()))
    await writeFile(settings.tlsCertificateFile, two.cert)
    await tls.refresh()
    assert.deepEqual(told, [])
    assert.equal(errors.length, 1)
    await writeFile(`${settings.tlsKeyFile}.new`, two.key)
    await rename(`${settings.tlsKeyFile}.new`, settings.tlsKeyFile)
    await tls.refresh()
    assert.deepEqual(told, [two.cert])
    assert.ok(!errors.join().includes('PRIVATE KEY'))
  })
})
