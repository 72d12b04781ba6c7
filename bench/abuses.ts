/**
 * Requests that were made to hurt, as bytes on a socket: each a cheap way to make a server spend memory or time, to leave
 * something counted for ever, or to make it fail. All come from one seed.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import { gzipSync } from 'node:zlib'
import sharp from 'sharp'
import { signsRequest } from './server.js'

const SIGNS = '/v2/models/traffic-signs/infer'
const PREDICT = '/v1/models/traffic-signs/predict'
const ENLARGE = '/v2/models/sr-x2/infer'
const GZIP = { 'content-encoding': 'gzip' }
const JSON_TYPE = { 'content-type': 'application/json' }

const SHAPES = [[2 ** 31, 3, 32, 32], [1, 3, 2 ** 26, 2 ** 26], [0, 3, 32, 32], [1, 3, -32, 32], [1e300, 3, 1, 1]]

/** What a bomb becomes when it is inflated. */
const BOMB_BYTES = 2 ** 25

/** Sides of a plane of zeros, and of pictures of one colour: small on the wire, large in memory. */
const PLANE_SIDE = 2340
const PICTURE_SIDE = 7000

const FORM_BYTES = 2 ** 22

/** The clients of an abuse leave at the latest now. */
const PATIENCE_MS = 20_000

type Headers = Record<string, string>
/** From 0 to 1. */
type Random = () => number

/** Requests that are sent over one connection. */
export type Abuse = (random: Random) => Buffer[]

/** By kind. What takes long to make is made once. */
export async function makeAbuses (): Promise<Record<string, Abuse>> {
  const pictures = await hostilePictures()
  const bombs = jsonBombs().map((text) => gzipSync(text, { level: 9 }))
  const plane = planeOfZeros()
  const one = <T>(all: readonly T[], random: Random): T => all[Math.floor(random() * all.length)]!
  return {
    bomb: (random) => [post(SIGNS, one(bombs, random), { ...GZIP, ...JSON_TYPE })],
    plane: () => [post(ENLARGE, plane.body, { ...plane.headers, ...GZIP })],
    picture: (random) => [post(PREDICT, one(pictures, random), { 'content-type': 'image/png', 'x-domain': 'day' })],
    'same output': (random) => [post(SIGNS, Buffer.from(JSON.stringify({
      inputs: [zeros()],
      outputs: Array.from({ length: 1 + Math.floor(random() * 64) }, () => ({ name: 'logits', parameters: { classification: 43 } }))
    })), JSON_TYPE)],
    names: (random) => [post(SIGNS, Buffer.from(one([
      `{"inputs":[],"inputs":[${JSON.stringify(zeros())}]}`,
      JSON.stringify({ inputs: [zeros(), zeros()] }),
      JSON.stringify({ inputs: [{ ...zeros(), name: '__proto__' }] }),
      JSON.stringify({ inputs: [{ ...zeros(), data: [{ toString: 1 }] }] }),
      '{"__proto__":{"inputs":[]},"inputs":null}'
    ], random)), JSON_TYPE)],
    shapes: (random) => [post(SIGNS, Buffer.from(JSON.stringify({
      inputs: [{ ...zeros(), shape: one(SHAPES, random) }]
    })), JSON_TYPE)],
    form: (random) => [form(random)],
    pipeline: (random) => Array.from({ length: 2 + Math.floor(random() * 6) }, () => {
      const { body, headers } = signsRequest(1 + Math.floor(random() * 4))
      return post(SIGNS, body, { ...headers, 'x-domain': one(['day', 'fog', 'nobody', 'lowlight'], random) })
    }),
    mutated: (random) => {
      const { body, headers } = signsRequest(1)
      const bytes = post(SIGNS, body, headers)
      for (let times = 1 + Math.floor(random() * 20); times > 0; times--) bytes[Math.floor(random() * 600)] = Math.floor(random() * 256)
      return [bytes]
    },
    grammar: (random) => [Buffer.from(one([
      'GET / HTTP/9.9\r\n\r\n', 'POST /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      `GET /livez HTTP/1.1\r\nhost: x\r\nx: ${'a'.repeat(2 ** 17)}\r\n\r\n`, 'POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
      `GET /${'%73/'.repeat(2 ** 11)} HTTP/1.1\r\nhost: x\r\n\r\n`, '\0\0\0\0', 'DELETE /admin/models/traffic-signs/domains/day HTTP/1.1\r\nhost: x\r\n\r\n'
    ], random))]
  }
}

/**
 * Sends the requests of an abuse in one go. The client leaves after a random number of bytes, at once after the last, or
 * when it was answered. Resolves with the statuses that came back.
 */
export async function send (address: string, requests: readonly Buffer[], random: Random): Promise<number[]> {
  const { port, hostname } = new URL(address)
  const bytes = Buffer.concat(requests)
  const manner = random()
  const sent = manner < 1 / 3 ? bytes.subarray(0, Math.floor(random() * bytes.length)) : bytes
  const socket = connect({ port: Number(port), host: hostname })
  let text = ''
  const statuses = (): number[] => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
  socket.on('error', () => {}).on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1').replaceAll(/[^\x20-\x7e\r\n]/g, '')
    if (manner >= 2 / 3 && statuses().length >= requests.length) socket.destroy()
  })
  const over = once(socket, 'close')
  socket.setTimeout(PATIENCE_MS, () => socket.destroy())
  socket.write(sent, () => { if (manner < 2 / 3) socket.destroy() })
  await over
  return statuses()
}

function post (path: string, body: Buffer, headers: Headers): Buffer {
  const lines = Object.entries({ host: 'x', 'content-length': String(body.length), ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\n${lines.join('')}\r\n`), body])
}

function zeros (): { name: string, shape: number[], datatype: string, data: number[] } {
  return { name: 'input', shape: [1, 3, 32, 32], datatype: 'FP32', data: new Array<number>(3 * 32 * 32).fill(0) }
}

function jsonBombs (): string[] {
  const fill = (unit: string) => unit.repeat(Math.floor(BOMB_BYTES / unit.length))
  const half = BOMB_BYTES / 2
  return [
    `{"inputs":[${fill('{},')}{}]}`, `${'['.repeat(half)}${']'.repeat(half)}`, `{"inputs":[${fill('[],')}[]]}`, `{"inputs":"${fill('a')}"}`,
    `{"inputs":[{"name":"input","shape":[1,3,32,32],"datatype":"FP32","data":[${fill('0,')}0]}]}`, `{${fill('"a":1,')}"b":2}`, fill(' ')
  ]
}

function planeOfZeros (): { body: Buffer, headers: Headers } {
  const header = Buffer.from(JSON.stringify({
    inputs: [{
      name: 'input',
      shape: [1, 3, PLANE_SIDE, PLANE_SIDE],
      datatype: 'FP32',
      parameters: { binary_data_size: 12 * PLANE_SIDE ** 2 }
    }]
  }))
  const body = gzipSync(Buffer.concat([header, Buffer.alloc(12 * PLANE_SIDE ** 2)]), { level: 9 })
  return { body, headers: { 'inference-header-content-length': String(header.length), 'content-type': 'application/octet-stream' } }
}

async function hostilePictures (): Promise<Buffer[]> {
  const base = () => sharp({ create: { width: PICTURE_SIDE, height: PICTURE_SIDE, channels: 4, background: '#12345680' } })
  const good = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#123456' } }).png().toBuffer()
  const header = Buffer.from(good)
  header.writeUInt32BE(2 ** 30, 16)
  return [
    await base().toColourspace('rgb16').png({ progressive: true, compressionLevel: 9 }).toBuffer(),
    await base().flatten().jpeg({ progressive: true, quality: 50 }).toBuffer(),
    good.subarray(0, good.length >> 1), header
  ]
}

/** A form of zeros, or the beginning of one that says to be longer than forms may be. */
function form (random: Random): Buffer {
  const head = '--x\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\ncontent-type: image/png\r\n\r\n'
  const body = Buffer.concat([Buffer.from(head), Buffer.alloc(FORM_BYTES)])
  const length = random() < 0.5 ? body.length : 2 ** 28
  return post(PREDICT, body, { 'content-type': 'multipart/form-data; boundary=x', 'x-domain': 'day', 'content-length': String(length) })
}
