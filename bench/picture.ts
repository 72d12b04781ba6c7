/**
 * What a large picture costs: sr-x2 doubles it over HTTP. Tells the time, the server's memory before and at its
 * peak, how long small pictures of the same domain and `/livez` take meanwhile, and the largest difference from runs
 * without tiles, at places all over the picture.
 *
 *   npm run bench -- picture [--width 6000 --height 4000 --type image/png]
 */
import { once } from 'node:events'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { request, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { markdownTable, quantile } from '#src/cli/measure.js'
import { seededUniform } from '../test/support/random.js'
import { openBench } from './report.js'
import { memoryOf, startBenchServer } from './server.js'
import type { ImageToImageManifest } from '#src/models/manifest.js'

const { values, publish } = openBench('picture', { width: '6000', height: '4000', type: 'image/png' })
const [width, height] = [Number(values.width), Number(values.height)]

const NAME = 'sr-x2'
const MODEL = new URL(`../../models/${NAME}`, import.meta.url).pathname
const { input, tiling: { overlap: OVERLAP } } = JSON.parse(
  await readFile(join(MODEL, 'manifest.json'), 'utf8')
) as ImageToImageManifest

const PLACES = 24
const PLACE_SIDE = 200
const PAUSE_MS = 200

const MIB = 2 ** 20

const folder = await mkdtemp(join(tmpdir(), 'bankswitch-bench-models-'))
await cp(MODEL, join(folder, NAME), { recursive: true })
const server = await startBenchServer({ BANKSWITCH_MODELS_DIR: folder })
try {
  const jpeg = await photograph()
  const small = await sharp(jpeg).resize(64, 64).png().toBuffer()
  await predict(small, 'image/png')
  const before = memoryOf(server)
  await writeFile(`/proc/${server.pid}/clear_refs`, '5')
  const meanwhile = watch(small)
  const begin = performance.now()
  const response = await predict(jpeg, values.type, { 'x-progress-key': 'large' })
  const seconds = (performance.now() - begin) / 1000
  const { pictures, livez, progress } = await meanwhile.stop()
  const after = memoryOf(server)
  const mib = (bytes: number) => (bytes / MIB).toFixed(0)
  const rows = [
    ['all of it', `${seconds.toFixed(1)} s`],
    ['server-timing', String(response.timing)],
    ['memory before / at the peak', `${before.rss.toFixed(0)} MiB / ${after.peak.toFixed(0)} MiB, of which ${mib(width * height * 3)} MiB are pixels in, ` +
      `${mib(4 * width * height * 3)} MiB pixels out, ${mib(response.body.length)} MiB the answer`],
    ['`/livez` meanwhile', times(livez)],
    ['a 64 x 64 picture of the same domain meanwhile', times(pictures)],
    ['times that progress was told', String(progress)]
  ]
  if (values.type === 'image/png') {
    rows.push([`largest difference from runs without tiles, at ${PLACES} places of ${PLACE_SIDE} x ${PLACE_SIDE} pixels`, await seams(jpeg, response.body)])
  }
  await publish(`A JPEG of ${width} x ${height} pixels (${mib(jpeg.length)} MiB) doubled by \`${NAME}\`, answered as ${values.type}.\n\n` +
    markdownTable(['', ''], rows))
} finally {
  await server.stop()
  await rm(folder, { recursive: true })
}

function times (all: number[]): string {
  return `median ${quantile(all, 0.5).toFixed(1)} ms, 99th percentile ${quantile(all, 0.99).toFixed(1)} ms of ${all.length} requests`
}

/** Structure at every scale, and noise: neither flat nor worse than a camera's. */
async function photograph (): Promise<Buffer> {
  const uniform = seededUniform(5)
  const pixels = Buffer.alloc(3 * width * height)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const light = 128 + 60 * Math.sin(x / 97 + y / 211) + 30 * Math.sin(x / 7 - y / 11) + 20 * uniform()
      for (let channel = 0; channel < 3; channel++) pixels[3 * (y * width + x) + channel] = light * (0.7 + 0.1 * channel)
    }
  }
  return await sharp(pixels, { raw: { width, height, channels: 3 }, limitInputPixels: false }).jpeg({ quality: 90 }).toBuffer()
}

async function predict (
  picture: Buffer, accept: string, headers: Record<string, string> = {}
): Promise<{ body: Buffer, timing: string | string[] | undefined }> {
  // Not fetch, which gives up after five minutes.
  const sent = request(`${server.address}/v1/models/${NAME}/predict`, {
    method: 'POST',
    headers: { accept, 'content-type': picture[0] === 0xff ? 'image/jpeg' : 'image/png', ...headers }
  }).end(picture)
  const [response] = await once(sent, 'response') as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks)
  if (response.statusCode !== 200) throw new Error(body.toString())
  return { body, timing: response.headers['server-timing'] }
}

function watch (small: Buffer): { stop (): Promise<{ pictures: number[], livez: number[], progress: number }> } {
  const result = { pictures: [] as number[], livez: [] as number[], progress: 0 }
  const state = { isStopped: false }
  const timed = async (times: number[], work: () => Promise<unknown>) => {
    const begin = performance.now()
    await work()
    times.push(performance.now() - begin)
  }
  const loop = (async () => {
    while (!state.isStopped) {
      await timed(result.livez, () => fetch(`${server.address}/livez`))
      await timed(result.pictures, () => predict(small, 'image/png'))
      if ((await fetch(`${server.address}/v1/progress/large`)).ok) result.progress++
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
  })()
  return {
    async stop () {
      state.isStopped = true
      await loop
      return result
    }
  }
}

async function seams (jpeg: Buffer, answer: Buffer): Promise<string> {
  const source = await sharp(jpeg, { limitInputPixels: false }).raw().toBuffer()
  const result = await sharp(answer, { limitInputPixels: false }).raw().toBuffer()
  const uniform = seededUniform(9)
  const side = PLACE_SIDE + 2 * OVERLAP
  let [largest, clamped, count] = [0, 0, 0]
  for (let place = 0; place < PLACES; place++) {
    const [left, top] = [Math.floor(uniform() * (width - side)), Math.floor(uniform() * (height - side))]
    const whole = await untiled(source, left, top, side)
    for (let channel = 0; channel < 3; channel++) {
      for (let y = 2 * OVERLAP; y < 2 * (side - OVERLAP); y++) {
        for (let x = 2 * OVERLAP; x < 2 * (side - OVERLAP); x++) {
          const expected = Math.max(0, Math.min(255, 255 * whole[(channel * 2 * side + y) * 2 * side + x]!))
          const received = result[3 * ((2 * top + y) * 2 * width + 2 * left + x) + channel]!
          largest = Math.max(largest, Math.abs(Math.round(expected) - received))
          count++
          if (expected === 0 || expected === 255) clamped++
        }
      }
    }
  }
  return `${largest} of 255 (${(100 * clamped / count).toFixed(0)} % of the values are clamped)`
}

/** A part of the picture through the net at once, by the Open Inference Protocol. */
async function untiled (source: Buffer, left: number, top: number, side: number): Promise<Float32Array> {
  const tensor = Float32Array.from({ length: 3 * side * side }, (_, at) => {
    const [x, y, channel] = [at % side, Math.floor(at / side) % side, Math.floor(at / side / side)]
    return source[3 * ((top + y) * width + left + x) + channel]! / 255
  })
  const bytes = Buffer.from(tensor.buffer)
  const header = Buffer.from(JSON.stringify({
    inputs: [{ name: input.name, shape: [1, 3, side, side], datatype: 'FP32', parameters: { binary_data_size: bytes.length } }],
    parameters: { binary_data_output: true }
  }))
  const response = await fetch(`${server.address}/v2/models/${NAME}/infer`, {
    method: 'POST',
    body: Buffer.concat([header, bytes]),
    headers: { 'inference-header-content-length': String(header.length) }
  })
  const body = Buffer.from(await response.arrayBuffer())
  const length = Number(response.headers.get('inference-header-content-length'))
  return new Float32Array(new Uint8Array(body.subarray(length)).buffer)
}
