/** A service over a store in which a newer server has written two domains, the default one among them. */
import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { sha256 } from '#src/base/digest.js'
import { filesBelow } from '../store/fixtures/snapshot.js'
import { ROOT } from '../support/folders.js'
import { ADMIN, startService, type Service } from '../support/service.js'
import { binaryRequest } from '../support/wire.js'

const MODEL = '/admin/models/traffic-signs/domains'

describe('a store with domains of a format of the future', () => {
  let service: Service
  let folder: string
  let untouched: Array<[path: string, digest: string]>

  const held = async () => {
    const paths = (await filesBelow(folder)).filter((path) => /\/(day|fog)\//.test(path))
    return await Promise.all(paths.map(async (path): Promise<[string, string]> => [path, sha256(await readFile(join(folder, path)))]))
  }
  const infer = (domain: string) => {
    const { payload, headers } = binaryRequest({ shape: [1, 3, 32, 32], values: new Float32Array(3072) })
    return service.app.inject({
      method: 'POST', url: '/v2/models/traffic-signs/infer', payload, headers: domain === '' ? headers : { ...headers, 'x-domain': domain }
    })
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bankswitch-future-'))
    await cp(join(ROOT, 'test/store/fixtures/store-of-1f47071'), folder, { recursive: true })
    for (const domain of ['day', 'fog']) {
      const path = join(folder, 'traffic-signs', domain, 'domain.json')
      const future = { ...JSON.parse(await readFile(path, 'utf8')) as object, format: 3, regions: ['north'] }
      await writeFile(path, JSON.stringify(future))
    }
    untouched = await held()
    service = await startService({ BANKSWITCH_STORE: folder })
  })
  after(async () => {
    await service.close()
    await rm(folder, { recursive: true })
  })

  it('is told in the log, once a domain', () => {
    const lines = service.log.filter(({ msg }) => msg === 'a domain that a newer server wrote is not served, and stays as it is')
    assert.deepEqual(lines.map(({ path }) => path), ['traffic-signs/day', 'traffic-signs/fog'])
    for (const { reason } of lines) assert.match(String(reason), /has format 3, and this server knows formats up to 2/)
  })

  it('serves the others', async () => {
    assert.equal((await infer('night')).statusCode, 200)
    const { domains } = (await service.app.inject('/v1/models/traffic-signs/domains')).json()
    assert.deepEqual(domains.map(({ domain }: { domain: string }) => domain), ['lowlight', 'lowres', 'night', 'rain', 'stored'])
  })

  it('answers for these with what it found and what it knows, and changes nothing of them', async () => {
    const calls = [
      infer('fog'), infer('fog:1'), infer('fog:stable'), infer(''), service.app.inject('/v1/models/traffic-signs/domains/fog'),
      ...([
        ['POST', '/fog/activate', { version: 1 }], ['POST', '/fog/rollback', undefined], ['DELETE', '/fog', undefined],
        ['DELETE', '/fog/versions/2', undefined], ['PUT', '/fog/labels/next', { version: 1 }], ['GET', '/fog/versions/1', undefined],
        ['PUT', '/fog/canary', { version: 1, percent: 1 }], ['GET', '/fog/gate', undefined], ['DELETE', '/fog/gate', undefined]
      ] as const).map(([method, path, payload]) => service.app.inject({
        method, url: MODEL + path, headers: ADMIN, ...(payload === undefined ? {} : { payload })
      }))
    ]
    const bank = (await service.app.inject({ url: `${MODEL}/night/versions/1`, headers: ADMIN })).rawPayload
    calls.push(service.app.inject({
      method: 'PUT', url: `${MODEL}/fog`, headers: { ...ADMIN, 'content-type': 'application/octet-stream' }, payload: bank
    }))
    for (const [at, { statusCode, payload }] of (await Promise.all(calls)).entries()) {
      const { code, details } = JSON.parse(payload)
      assert.deepEqual([statusCode, code], [503, 'STORE_FORMAT_UNKNOWN'], `call ${at}: ${payload}`)
      assert.deepEqual([details.expected, details.received], [2, 3])
    }
    assert.deepEqual(await held(), untouched)
  })
})
