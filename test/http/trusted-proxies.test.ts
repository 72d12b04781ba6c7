/** Whose address counts behind proxies: for limits, the log and the audit log. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import Fastify from 'fastify'
import fc from 'fast-check'
import { areNetworks } from '#src/config/networks.js'
import { addressOf, senderOf } from '#src/http/access/sender.js'
import { runSeed } from '../support/run-seed.js'
import { ADMIN, startService, type Service } from '../support/service.js'

const PROXY = '10.1.2.3'
const INNER_PROXY = '2001:db8:0:7::1'
const [CLIENT, OTHER, FORGED] = ['192.0.2.1', '192.0.2.2', '198.51.100.9']

/** What an application that trusts `trustProxy` takes a request for. */
async function takenFor (trustProxy: string | false, remoteAddress: string, forwarded?: string): Promise<{ address: string, sender: string }> {
  const app = Fastify({ trustProxy })
  app.get('/', async (request) => ({ address: addressOf(request), sender: senderOf({ caller: undefined, ip: request.ip, raw: request.raw }) }))
  try {
    return (await app.inject({ url: '/', remoteAddress, headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded } })).json()
  } finally {
    await app.close()
  }
}

describe('the address of a client', () => {
  const trusted = `10.0.0.0/8, ${INNER_PROXY}`

  it('is that of the connection where nobody is trusted', async () => {
    assert.deepEqual(await takenFor(false, CLIENT, FORGED), { address: CLIENT, sender: `address ${CLIENT}` })
  })

  it('is what a trusted proxy tells, the last that is not one itself', async () => {
    for (const [connection, forwarded, expected] of [
      [PROXY, CLIENT, CLIENT],
      [`::ffff:${PROXY}`, CLIENT, CLIENT],
      [PROXY, `${FORGED}, ${CLIENT}`, CLIENT],
      [PROXY, `${FORGED}, ${CLIENT}, ${INNER_PROXY}`, CLIENT],
      [INNER_PROXY, '2001:db8:1:2::3', '2001:db8:1:2::3'],
      [PROXY, undefined, PROXY]
    ] as const) assert.equal((await takenFor(trusted, connection, forwarded)).address, expected, `${connection} ${forwarded}`)
  })

  it('is never what a client says that comes directly', async () => {
    for (const forwarded of [FORGED, `${FORGED}, ${PROXY}`, PROXY]) {
      assert.equal((await takenFor(trusted, CLIENT, forwarded)).address, CLIENT)
    }
    assert.equal((await takenFor(trusted, '2001:db8:0:7::2', FORGED)).address, '2001:db8:0:7::2')
  })

  it('is the proxy\'s where it passes on what is no address', async () => {
    for (const forwarded of ['unknown', `${CLIENT}:4711`, '_hidden', 'x'.repeat(4000)]) {
      assert.equal((await takenFor(trusted, PROXY, forwarded)).address, PROXY)
    }
  })

  it('is of one sender with all of its IPv6 network', async () => {
    assert.equal((await takenFor(trusted, PROXY, '2001:db8:1:2::3')).sender, 'address 2001:db8:1:2::')
  })
})

describe('networks', () => {
  it('are addresses and CIDRs with commas between', () => {
    for (const text of ['10.0.0.1', '10.0.0.0/8', '::1', 'fd00::/8', '10.0.0.0/8,192.168.0.0/16 , fd00::/8', '0.0.0.0/1', '::/128']) {
      assert.ok(areNetworks(text), text)
    }
    for (const text of ['', ' ', ',', '10.0.0.0/8,', 'loopback', 'proxy.example', '10.0.0', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/', '10.0.0.0/8/8',
      '10.0.0.0/255.0.0.0', '::/129', '0.0.0.0/0', '::/0', '10.0.0.0/08', '10.0.0.0/8x', 'fe80::1%eth0', '1', 'true']) {
      assert.ok(!areNetworks(text), text)
    }
  })

  it('are all understood by what compares addresses with them', () => {
    const v4 = fc.tuple(fc.ipV4(), fc.option(fc.integer({ min: 1, max: 32 })))
    const v6 = fc.tuple(fc.ipV6(), fc.option(fc.integer({ min: 1, max: 128 })))
    const network = fc.oneof(v4, v6).map(([address, bits]) => bits === null ? address : `${address}/${bits}`)
    fc.assert(fc.property(fc.array(network, { minLength: 1, maxLength: 4 }), (networks) => {
      const text = networks.join(',')
      assert.ok(areNetworks(text), text)
      Fastify({ trustProxy: text })
    }), { seed: runSeed, numRuns: 100 })
  })
})

describe('a server behind a proxy', () => {
  let service: Service
  const ask = (forwarded: string, remoteAddress = PROXY) => {
    return service.app.inject({ url: '/v1/models', remoteAddress, headers: { 'x-forwarded-for': forwarded } })
  }
  before(async () => {
    service = await startService({ BANKSWITCH_TRUSTED_PROXIES: '10.0.0.0/8', BANKSWITCH_REQUESTS_PER_MINUTE: '2' })
  })
  after(() => service.close())

  it('counts requests by client, and all that is forged by who forges it', async () => {
    const statuses: number[] = []
    for (const [forwarded, connection] of [
      [CLIENT], [CLIENT], [CLIENT], [OTHER], [FORGED, '192.0.2.7'], [OTHER, '192.0.2.7'], ['192.0.2.9', '192.0.2.7']
    ] as const) statuses.push((await ask(forwarded, connection)).statusCode)
    assert.deepEqual(statuses, [200, 200, 429, 200, 200, 200, 429])
  })

  it('writes the client\'s address into the log and the audit log', async () => {
    await service.app.inject({ url: '/admin/jobs', remoteAddress: PROXY, headers: { ...ADMIN, 'x-forwarded-for': '192.0.2.3' } })
    const { url, address } = service.log.findLast(({ msg }) => msg === 'request')!
    assert.deepEqual({ url, address }, { url: '/admin/jobs', address: '192.0.2.3' })
    const [line] = (await readFile(join(service.storeDir, '../audit.jsonl'), 'utf8')).trim().split('\n')
    assert.equal((JSON.parse(line!) as { address: string }).address, '192.0.2.3')
  })
})
