/**
 * What once harmed a server, as anybody would send it: to a server in a process of its own, or as commands beside it.
 * It asks for nothing but what is public, so that another commit can be tried: put this file and what it needs of
 * test/support into it.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { access, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it, type TestContext } from 'node:test'
import { gzipSync } from 'node:zlib'
import sharp, { type Sharp } from 'sharp'
import { makeCertificate } from '../support/certificate.js'
import { ROOT, SIGNS, temporaryFolder } from '../support/folders.js'
import { formOf } from '../support/form.js'
import { GraphBuilder } from '../support/graph-builder.js'
import { runCommand, startProcess, type RunningProcess } from '../support/process.js'
import { field, message } from '../support/protobuf.js'
import { AUTHORIZED, inferSigns, registerSigns, shippedBank, signsFolder, versionFile } from '../support/signs.js'

const MIB = 2 ** 20
const INFER = `/v2/models/${SIGNS}/infer`
const PREDICT = `/v1/models/${SIGNS}/predict`
const DOMAINS = `/admin/models/${SIGNS}/domains`
/** What has not been answered by then holds the server up. */
const ANSWER_MS_MAX = 40_000

interface Reply {
  status: number
  etag: string | null
  json: Record<string, any>
}

interface Asked {
  method?: string
  headers?: Record<string, string>
  body?: Uint8Array | string
}

/** With the admin key, unless `headers` say otherwise. */
async function ask (url: string, { method = 'POST', headers = {}, body }: Asked = {}): Promise<Reply> {
  const response = await fetch(url, {
    method,
    headers: { ...AUTHORIZED, ...headers },
    signal: AbortSignal.timeout(ANSWER_MS_MAX),
    ...(body === undefined ? {} : { body: new Uint8Array(Buffer.from(body)) })
  })
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true
  return { status: response.status, etag: response.headers.get('etag'), json: isJson ? JSON.parse(text) : {} }
}

const BYTES = { 'content-type': 'application/octet-stream' }
const JSON_BODY = { 'content-type': 'application/json' }
const SQUEEZED = { ...JSON_BODY, 'content-encoding': 'gzip' }

const inputOf = (shape: readonly number[], rest: string) => {
  return `{"name":"input","shape":${JSON.stringify(shape)},"datatype":"FP32",${rest}}`
}

/** Whatever was sent before it has been read when these few have been answered. */
async function untilRead (address: string): Promise<void> {
  for (let turn = 0; turn < 5; turn++) assert.equal((await ask(`${address}/livez`, { method: 'GET' })).status, 200)
}

function openSocket (t: Pick<TestContext, 'after'>, address: string): Socket {
  const { port, hostname } = new URL(address)
  const socket = connect(Number(port), hostname).setEncoding('latin1').on('error', () => {})
  t.after(() => socket.destroy())
  return socket
}

function requestBytes (path: string, headers: Record<string, string>, body: Uint8Array = new Uint8Array()): Buffer {
  const lines = Object.entries({ host: 'x', 'content-length': String(body.length), ...headers })
  return Buffer.concat([
    Buffer.from(`POST ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`), body
  ])
}

/** Everything that comes back until the server closes, `enough` has come, or it takes too long. */
async function receive (socket: Socket, enough: RegExp): Promise<string> {
  let received = ''
  AbortSignal.timeout(ANSWER_MS_MAX).addEventListener('abort', () => socket.destroy())
  await new Promise<void>((resolve) => {
    socket.on('data', (piece: string) => {
      received += piece
      if (enough.test(received)) resolve()
    }).once('close', () => resolve())
  })
  return received
}

/** A flat picture of 25 megapixels: a few kilobytes that take long to decode. */
function slowPicture (): Sharp {
  return sharp({ create: { width: 5000, height: 5000, channels: 4, background: { r: 10, g: 20, b: 30, alpha: 0.5 } } })
}

const slowWebp = slowPicture().webp().toBuffer()

/** In a folder of its own, with the key of `AUTHORIZED`, once `prepare` has put into it what shall be there. */
async function start (
  t: Pick<TestContext, 'after'>, more: Record<string, string> = {}, prepare?: (folder: string) => Promise<unknown>,
  state?: 'listening'
) {
  const { folder, settings } = await signsFolder(t)
  await prepare?.(folder)
  const all = { ...settings, BANKSWITCH_REFUSAL_HOLD_MS: '0', ...more }
  return { folder, settings: all, server: await startProcess(t, all, folder, state) }
}

describe('a server that was once harmed by it', () => {
  const ends: Array<() => unknown> = []
  let server: RunningProcess
  let folder: string
  let settings: Record<string, string>
  let at: string
  before(async () => {
    ({ server, folder, settings } = await start({ after: (end: any) => ends.push(end) } as Pick<TestContext, 'after'>))
    at = server.address
  })
  after(async () => { for (const end of ends.reverse()) await end() })

  for (const [what, value] of [
    ['objects', (room: number) => `[${'{},'.repeat(room / 3)}{}]`],
    ['arrays', (room: number) => `[${'[],'.repeat(room / 3)}[]]`],
    ['nested arrays', (room: number) => '['.repeat(room / 2) + ']'.repeat(room / 2)],
    ['nested objects', (room: number) => `${'{"a":'.repeat(room / 6)}1${'}'.repeat(room / 6)}`]
  ] as const) {
    it(`refuses 63 MiB of JSON of ${what} in 100 kB`, async () => {
      const body = gzipSync(`{"inputs":[${inputOf([1], `"data":${value(63 * MIB)}`)}]}`)
      assert.ok(body.length < 100_000)
      assert.equal((await ask(at + INFER, { headers: SQUEEZED, body })).status, 413)
    })
  }

  it('refuses an output that is asked for 64 times', async () => {
    const { json: { outputs: [{ name }] } } = await ask(`${at}/v2/models/${SIGNS}`, { method: 'GET' })
    for (const parameters of [{ classification: 43 }, { binary_data: true }]) {
      const outputs = Array.from({ length: 64 }, () => ({ name, parameters }))
      const data = JSON.stringify(new Array(3072).fill(0))
      const body = `{"inputs":[${inputOf([1, 3, 32, 32], `"data":${data}`)}],"outputs":${JSON.stringify(outputs)}}`
      assert.equal((await ask(at + INFER, { headers: JSON_BODY, body })).status, 400)
    }
  })

  it('refuses a plane of 2340 x 2340 in 65 kB', async () => {
    const shape = [1, 3, 2340, 2340]
    const bytes = 4 * 3 * 2340 * 2340
    const header = `{"inputs":[${inputOf(shape, `"parameters":{"binary_data_size":${bytes}}`)}]}`
    const headers = { 'content-encoding': 'gzip', 'inference-header-content-length': String(header.length) }
    const body = gzipSync(Buffer.concat([Buffer.from(header), Buffer.alloc(bytes)]))
    assert.equal((await ask(at + INFER, { headers, body })).status, 413)
  })

  it('refuses an object among the numbers', async () => {
    const body = `{"inputs":[${inputOf([1, 3, 1, 1], '"data":[{"toString":1},0,0]')}]}`
    assert.equal((await ask(at + INFER, { headers: JSON_BODY, body })).status, 400)
  })

  it('refuses a gate whose limit is no number that JSON can hold', async () => {
    const inputs = `[${inputOf([1, 3, 32, 32], `"data":${JSON.stringify(new Array(3072).fill(0))}`)}]`
    const { json: { outputs } } = await ask(at + INFER, { headers: { ...JSON_BODY, 'x-domain': 'fog' }, body: `{"inputs":${inputs}}` })
    const gate = await ask(`${at}${DOMAINS}/fog/gate?absolute=1e999`, {
      method: 'PUT', headers: JSON_BODY, body: `{"inputs":${inputs},"expected":${JSON.stringify(outputs)}}`
    })
    assert.deepEqual([gate.status, gate.json.code], [400, 'REQUEST_INVALID'])
  })

  it('answers what Node\'s parser refuses with a code and an id', async (t) => {
    for (const [status, bytes] of [
      [400, 'GET /livez HTTP/1.1\r\n\r\n'], [400, `POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef`],
      [431, `GET /livez HTTP/1.1\r\nHost: x\r\nX-A: ${'a'.repeat(20_000)}\r\n\r\n`]
    ] as const) {
      const socket = openSocket(t, at)
      socket.write(bytes)
      const [head = '', body = ''] = (await receive(socket, /\r\n\r\n\{.*\}$/s)).split('\r\n\r\n')
      assert.equal(head.split(' ')[1], String(status))
      const { code, requestId } = JSON.parse(body || '{}')
      assert.deepEqual([typeof code, typeof requestId], ['string', 'string'])
    }
  })

  it('makes no domain for If-Match: *', async () => {
    const answer = await ask(`${at}${DOMAINS}/unmade`, { method: 'PUT', headers: { ...BYTES, 'if-match': '*' }, body: await shippedBank('fog') })
    assert.equal(answer.status, 412)
  })

  it('gives no version number twice, so that what is stale removes nothing new', async () => {
    const url = `${at}${DOMAINS}/again`
    const put = async () => await ask(url, { method: 'PUT', headers: BYTES, body: await shippedBank('fog') })
    const first = await put()
    assert.equal(first.status, 201)
    assert.equal((await ask(url, { method: 'DELETE' })).status, 204)
    const second = await put()
    assert.notDeepEqual([second.etag, second.json.version], [first.etag, first.json.version])
    assert.equal((await ask(url, { method: 'DELETE', headers: { 'if-match': first.etag! } })).status, 412)
  })

  it('counts all of several contributions at once, and heeds If-Match', async () => {
    const contributions = await Promise.all([10, 11, 15].map(async (images, site) => {
      const pictures = await Promise.all(Array.from({ length: images }, async (_, index) => {
        const background = { r: 20 * site + index, g: 10 * index, b: 200 - 5 * index }
        const bytes = await sharp({ create: { width: 32, height: 32, channels: 3, background, noise: { type: 'gaussian', mean: 99, sigma: 20 } } }).png().toBuffer()
        return { field: 'images', name: `${index}.png`, bytes }
      }))
      const { payload, headers } = formOf({ mode: 'fixed' }, pictures)
      const url = `${at}${DOMAINS}/site-${site}`
      let job = (await ask(`${url}/calibrations`, { headers, body: payload })).json
      while (['queued', 'running'].includes(job.state)) job = (await ask(`${at}/admin/jobs/${job.id}`, { method: 'GET' })).json
      assert.equal(job.state, 'succeeded', JSON.stringify(job))
      const file = await fetch(`${url}/versions/${job.result.version}`, { headers: AUTHORIZED })
      return new Uint8Array(await file.arrayBuffer())
    }))
    const url = `${at}${DOMAINS}/ward/contributions`
    const contribute = async (site: number, headers = {}) => await ask(url, { body: contributions[site]!, headers: { ...BYTES, ...headers } })
    let expected = (await contribute(0)).json.images
    assert.equal(expected, 10)
    for (let round = 0; round < 3; round++) {
      const both = await Promise.all([contribute(1), contribute(2)])
      expected += 11 + 15
      assert.equal(Math.max(...both.map(({ json }) => json.images)), expected)
    }
    assert.equal((await contribute(1, { 'if-match': '"1"' })).status, 412)
  })

  it('answers from the version that it chose, though that is removed while the picture is decoded', async (t) => {
    const url = `${at}${DOMAINS}/leaving`
    const register = async () => (await registerSigns(at, 'leaving', await shippedBank('fog'))).status
    assert.equal(await register(), 201)
    const request = requestBytes(PREDICT, { 'content-type': 'image/webp', 'x-domain': 'leaving' }, await slowWebp)
    const socket = openSocket(t, at)
    socket.write(request)
    const answer = receive(socket, /\r\n\r\n\{.*\}$/s)
    await untilRead(at)
    assert.equal(await register(), 201)
    await ask(`${url}/versions/1`, { method: 'DELETE' })
    assert.match(await answer, /^HTTP\/1\.1 200 /)
  })

  it('loses nothing by commands that read beside it, and is not written under by others', async () => {
    const place = join(folder, 'domains', SIGNS, 'fog')
    const bank = await versionFile(join(folder, 'domains'), 'fog')
    // What a registration has on the disk before it is listed.
    const underWay = ['.tmp-under-way', `000002-${'0'.repeat(16)}.safetensors`].map((name) => join(place, name))
    for (const path of underWay) await copyFile(bank, path)
    const looked = await runCommand(folder, settings, 'diff', `${SIGNS}/day`, `${SIGNS}/fog`)
    assert.equal(looked.code, 0, looked.stderr)
    for (const path of underWay) await access(path)
    const written = await runCommand(folder, settings, 'register', '--model', SIGNS, '--domain', 'under', bank)
    assert.equal(written.code, 73, written.stderr)
    const second = await runCommand(folder, settings, 'serve', '--port', '0')
    assert.equal(second.code, 73, second.stderr)
  })
})

describe('a server with room for few bodies', () => {
  const BODY_BYTES = 1_000_000
  const small = { BANKSWITCH_BODY_BYTES: String(BODY_BYTES), BANKSWITCH_BODIES_BYTES: String(4 * BODY_BYTES) }

  it('has all its room again when clients that pipelined have left', async (t) => {
    const { server: { address } } = await start(t, small)
    const picture = requestBytes(PREDICT, { 'content-type': 'image/webp' }, await slowWebp)
    for (let client = 0; client < 6; client++) {
      const socket = openSocket(t, address)
      await once(socket, 'connect')
      const pipelined = Buffer.concat([...new Array(8).fill(picture), requestBytes(INFER, { 'x-domain': 'day' }, Buffer.alloc(BODY_BYTES))])
      await new Promise((resolve) => socket.write(pipelined, resolve))
      await untilRead(address)
      socket.destroy()
      await once(socket, 'close')
    }
    await untilRead(address)
    assert.equal((await inferSigns(address, 'day')).status, 200)
  })

  for (const [what, pathOf, domainOf] of [
    ['domains that do not exist', () => INFER, (at: number) => `nowhere${at}`],
    ['paths written otherwise', (at: number) => INFER.replace('signs', `sign${at % 2 === 0 ? 's' : '%73'}`).replace('infer', at % 4 < 2 ? 'infer' : 'infe%72'), () => 'day']
  ] as const) {
    it(`reads others' bodies while one holds many for ${what}`, async (t) => {
      const { server: { address } } = await start(t, small)
      for (let at = 0; at < 8; at++) {
        const socket = openSocket(t, address)
        await once(socket, 'connect')
        const half = requestBytes(pathOf(at), { 'x-domain': domainOf(at), 'content-length': String(BODY_BYTES - 1) }, Buffer.alloc(0.9 * BODY_BYTES))
        await new Promise((resolve) => socket.write(half, resolve))
        await untilRead(address)
      }
      const body = Buffer.alloc(0.45 * BODY_BYTES)
      assert.equal((await ask(address + INFER, { headers: { 'x-domain': 'fog' }, body })).status, 400)
    })
  }

  it('ends a form that does not end', async (t) => {
    const { server: { address } } = await start(t, small)
    for (const begin of ['', '--B\r\nX-Y: ', '--B\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\nabc\r\n--B--\r\n']) {
      const socket = openSocket(t, address)
      const answer = receive(socket, /$^/)
      const chunkOf = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
      socket.write(`POST ${PREDICT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: multipart/form-data; boundary=B\r\n\r\n`)
      // A chunk of nothing would be the end.
      if (begin !== '') socket.write(chunkOf(begin))
      const piece = chunkOf('a'.repeat(65_536))
      let sent = 0
      const pump = () => {
        while (sent < 100 * MIB && !socket.destroyed) {
          sent += piece.length
          if (!socket.write(piece)) return
        }
        socket.destroy()
      }
      socket.on('drain', pump)
      pump()
      assert.match(await answer, /^HTTP\/1\.1 413 /)
      assert.ok(sent < 50 * MIB, `${sent} bytes`)
    }
  })
})

it('four interlaced pictures of 16 bits at once, of 200 MB each, take less than 800 MiB', { skip: process.platform !== 'linux' }, async (t) => {
  const { server: { address, child } } = await start(t)
  const body = await slowPicture().toColourspace('rgb16').png({ progressive: true, compressionLevel: 9 }).toBuffer()
  const answers = await Promise.all(Array.from({ length: 4 }, () => ask(address + PREDICT, { headers: { 'content-type': 'image/png' }, body })))
  assert.deepEqual(answers.map(({ status }) => status), [200, 200, 200, 200])
  const [, most] = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${child.pid}/status`, 'utf8'))!
  assert.ok(Number(most) < 800 * 1024, `${most} kB`)
})

it('a server that is not ready does not name its models where inference needs a key', async (t) => {
  const { server: { address } } = await start(t, { BANKSWITCH_INFERENCE_KEYED: 'true' }, async (folder) => {
    const place = join(folder, 'models/unreadable')
    await mkdir(place)
    for (const name of ['manifest.json', 'labels.json']) {
      const text = await readFile(join(ROOT, 'models', SIGNS, name), 'utf8')
      await writeFile(join(place, name), text.replace(`"${SIGNS}"`, '"unreadable"'))
    }
    await writeFile(join(place, JSON.parse(await readFile(join(place, 'manifest.json'), 'utf8')).graph), 'no graph')
  }, 'listening')
  const response = await fetch(`${address}/readyz`)
  assert.equal(response.status, 503)
  assert.ok(!/unreadable|traffic-signs/.test(await response.text()))
})

it('a file of a job that holds null does not prevent the start', async (t) => {
  const { server } = await start(t, {}, async (folder) => {
    await mkdir(join(folder, '.bankswitch/jobs'), { recursive: true })
    await writeFile(join(folder, '.bankswitch/jobs', '01890000-0000-7000-8000-000000000000.json'), 'null')
  })
  assert.equal((await ask(`${server.address}/readyz`, { method: 'GET' })).status, 200)
})

it('a server is asked for its health under TLS too', async (t) => {
  const { cert, key } = makeCertificate(1)
  const { folder, settings, server } = await start(t, {
    BANKSWITCH_TLS_CERTIFICATE_FILE: 'server.crt', BANKSWITCH_TLS_KEY_FILE: 'server.key'
  }, async (place) => {
    await writeFile(join(place, 'server.crt'), cert)
    await writeFile(join(place, 'server.key'), key)
  })
  const { code, stderr } = await runCommand(folder, { ...settings, BANKSWITCH_PORT: new URL(server.address).port }, 'health')
  assert.equal(code, 0, stderr)
})

it('a network reads no file of the folder that it is compiled in', async (t) => {
  const folder = await temporaryFolder(t)
  const secret = 'nine numbers that nobody shall read.'
  for (const [name, bytes] of [['.bankswitch/other.key', secret], ['networks/evil.onnx', evilNetwork('.bankswitch/other.key', secret.length)]] as const) {
    await mkdir(join(folder, name, '..'), { recursive: true })
    await writeFile(join(folder, name), bytes)
  }
  const { code, stderr } = await runCommand(folder, {}, 'compile', 'networks/evil.onnx')
  assert.equal(code, 65, stderr)
})

/** Adds to what it computes a sparse tensor, whose values stand in a file. Field numbers: onnx.proto. */
function evilNetwork (location: string, bytes: number): Uint8Array {
  const values = bytes / 4
  const g = new GraphBuilder()
  const x = g.input('x', ['n', 3, 9, values])
  const normalised = g.batchNorm(g.conv(x, { inputs: 3, outputs: 16, kernel: 3 }), 16, 'bn')
  g.output(g.node('Add', [g.relu(normalised), 'secret']), ['n', 16, 9, values])
  const [FLOAT, INT64, EXTERNAL] = [1, 7, 1]
  const external = Object.entries({ location, offset: '0', length: String(bytes) }).map(([key, value]) => field(13, message(field(1, key), field(2, value))))
  const tensor = message(field(1, values), field(2, FLOAT), field(8, 'secret'), ...external, field(14, EXTERNAL))
  const indices = message(field(1, values), field(2, INT64), field(8, 'at'), ...Array.from({ length: values }, (_, at) => field(7, at)))
  const sparse = message(field(1, tensor), field(2, indices), field(3, values))
  // A second `graph` adds to the first.
  return message(g.bytes(), field(7, field(15, sparse)))
}
