/**
 * Drift: whether alarms keep to the dial over a million pictures of the domain, how many pictures a change takes to be
 * found, what a hostile stream does to others, which streams are told to fit no domain, what becomes of pictures that
 * fit none, and what watching costs.
 *
 *   npm run bench -- drift [--data FOLDER --parts alarms,delays,streams,fits,candidates,cost --pictures 1000000
 *     --repeats 30 --rounds 12 --seed 1]
 *
 * FOLDER holds gtsrb32.npz, as training/README.md tells; without it only the cost is measured.
 */
import { DomainWatch, type SeenPicture } from '#src/drift/domain-watch.js'
import { markdownTable, quantile } from '#src/cli/measure.js'
import { makeSignature, scoreOf, deviationsOf, type Signature } from '#src/signature/signature.js'
import { seededUniform } from '../test/support/random.js'
import { shuffled } from './domain-pictures.js'
import { Client } from './client.js'
import { candidates, lookAt, streamFits, withEngine, type Look, type SeenRow } from './drift-candidate.js'
import { openBench } from './report.js'
import { signsRequest, startBenchServer } from './server.js'

const { values, publish } = openBench('drift', {
  data: '', parts: 'alarms,delays,streams,fits,candidates,cost', pictures: '1000000', repeats: '30', rounds: '12', seed: '1'
})

const MODEL = 'traffic-signs'
const SEED = Number(values.seed)
/** Small, so that a million pictures show whether it is kept. */
const FALSE_DIAL = 10_000
const DIAL = 1_000_000
const SETTLED = 200
const DELAY_MAX = 20_000
const HONEST = 2000
const FROZEN = { pictures: 100, times: 5000 }
const STREAMS = 1_000_000
const FRAMES = 100_000
const REQUESTS_PER_CHUNK = 600
const CONNECTIONS = 4

/** Pictures of one kind as a domain sees them. */
type Pool = ReadonlyArray<Pick<SeenPicture, 'z' | 'values' | 'score'>>

const parts = values.parts.split(',')
const sections: string[] = []
if (values.data !== '') {
  await withEngine(values.data, SEED, async (bench) => {
    const look = await lookAt(bench)
    if (parts.includes('alarms')) sections.push(falseAlarms(look))
    if (parts.includes('delays')) sections.push(delays(look))
    if (parts.includes('streams')) sections.push(streams(look))
    if (parts.includes('fits')) sections.push(await streamFits(bench))
    if (parts.includes('candidates')) sections.push(await candidates(bench))
  })
}
if (parts.includes('cost')) sections.push(await cost())
await publish(sections.join('\n\n'))

function poolOf (signature: Signature, rows: readonly SeenRow[]): Pool {
  return rows.map(({ features, values: some }) => ({ z: deviationsOf(signature, features), values: some, score: scoreOf(signature, features) }))
}

function pick<T> (all: readonly T[], uniform: () => number): T {
  return all[Math.floor(uniform() * all.length)]!
}

function see (watch: DomainWatch, picture: Pool[number], at: number, stream = 'camera', caller = 'one'): boolean {
  return watch.see({ ...picture, caller, stream, nearest: undefined, at }).length > 0
}

/** Of in-domain pictures, drawn with replacement from pictures that the signature was not made of. */
function falseAlarms ({ signatures, test }: Look): string {
  // As many in all rows together.
  const pictures = Math.floor(Number(values.pictures) / (2 * signatures.size))
  const rows = [...signatures].flatMap(([domain, shipped]) => {
    const all = test.get(domain)!
    const mixed = shuffled(all, SEED)
    const half = mixed.length / 2
    const own = makeSignature(mixed.slice(0, half).map(({ features }) => features), shipped.origin)
    return [
      ['training pictures', shipped, all] as const, ['one half of the test pictures', own, mixed.slice(half)] as const
    ].map(([made, signature, drawn]) => {
      const pool = poolOf(signature, drawn)
      const watch = new DomainWatch(signature.scores, FALSE_DIAL, 0)
      const draw = seededUniform(SEED + 1)
      for (let at = 0; at < pictures; at++) see(watch, pick(pool, draw), at)
      const { counted, alarms } = watch.report(0)
      return [
        domain, made, String(signature.scores.length), counted.toLocaleString('en'), String(alarms), (pictures / FALSE_DIAL).toFixed(1)
      ]
    })
  })
  return `False alarms over ${Number(values.pictures).toLocaleString('en')} pictures of the domain's test part in one stream, at a dial of ` +
    `${FALSE_DIAL.toLocaleString('en')}, seed ${SEED}:\n\n` +
    markdownTable(['domain', 'signature of', 'held-back scores', 'counted', 'alarms', 'allowed on average'], rows)
}

/** Pictures from the change to the alarm, thinned ones among them. */
function delays ({ signatures, test }: Look): string {
  const repeats = Number(values.repeats)
  const changes = [...test.keys()].flatMap((to) => [1, 0.05].map((share) => ({ from: 'day', to, share })))
    .filter(({ to }) => to !== 'day').concat({ from: 'lowlight', to: 'dark, noisy', share: 1 })
  const rows = changes.map(({ from, to, share }) => {
    const signature = signatures.get(from)!
    const [before, after] = [from, to].map((kind) => poolOf(signature, test.get(kind)!)) as [Pool, Pool]
    const found: number[] = []
    for (let repeat = 0; repeat < repeats; repeat++) {
      const uniform = seededUniform(SEED * 1000 + repeat)
      const watch = new DomainWatch(signature.scores, DIAL, 0)
      for (let at = 0; at < SETTLED; at++) see(watch, pick(before, uniform), at)
      let delay = 1
      while (!see(watch, pick(uniform() < share ? after : before, uniform), SETTLED + delay) && delay < DELAY_MAX) delay++
      found.push(delay)
    }
    const told = (at: number) => {
      const delay = quantile(found, at)
      return delay >= DELAY_MAX ? `over ${DELAY_MAX.toLocaleString('en')}` : delay.toLocaleString('en')
    }
    return [from, share === 1 ? to : `${100 * share} % ${to}`, told(0.5), told(0.9)]
  })
  return `Pictures until the alarm at a dial of ${DIAL.toLocaleString('en')}, after ${SETTLED} of the domain, ${repeats} repeats:\n\n` +
    markdownTable(['domain', 'then', 'median', '90 %'], rows)
}

/** What streams do that are no pictures of a domain, one after another. */
function streams ({ signatures, test, frames }: Look): string {
  const signature = signatures.get('day')!
  const day = poolOf(signature, test.get('day')!)
  const uniform = seededUniform(SEED)
  let frozen = 0
  for (let at = 0; at < FROZEN.pictures; at++) {
    const watch = new DomainWatch(signature.scores, DIAL, 0)
    const picture = pick(day, uniform)
    for (let time = 0; time < FROZEN.times; time++) if (see(watch, picture, time)) frozen++
  }
  const tracks = new DomainWatch(signature.scores, DIAL, 0)
  const consecutive = poolOf(signature, frames)
  for (let time = 0; time < FRAMES; time++) see(tracks, consecutive[time % consecutive.length]!, time)
  const { counted, alarms } = tracks.report(0)
  const alone = honestAlarms(signature, day, poolOf(signature, test.get('fog')!), () => undefined)
  const size = day[0]!.z.length
  const wild = seededUniform(SEED + 5)
  const hostile: Array<readonly [string, () => Pool[number]]> = [
    ['noise', () => ({ z: Float64Array.from({ length: size }, () => 40 * wild() - 20), values: Float32Array.from({ length: 64 }, wild), score: 1e4 * wild() })],
    ['one colour', () => ({ z: new Float64Array(size).fill(-9), values: new Float32Array(64), score: 1e6 })],
    ['no numbers', () => ({ z: new Float64Array(size).fill(NaN), values: new Float32Array(64).fill(NaN), score: NaN })]
  ]
  const moved = hostile.filter(([, make]) => {
    return honestAlarms(signature, day, poolOf(signature, test.get('fog')!), make).join() !== alone.join()
  }).map(([name]) => name)
  const watch = new DomainWatch(signature.scores, DIAL, 0)
  const begin = performance.now()
  for (let at = 0; at < STREAMS; at++) see(watch, day[at % day.length]!, at, String(at), `caller ${at % 1000}`)
  const us = (performance.now() - begin) / STREAMS * 1000
  return `- One picture ${FROZEN.times.toLocaleString('en')} times, ${FROZEN.pictures} pictures: ${frozen} alarms.\n` +
    `- ${FRAMES.toLocaleString('en')} consecutive frames of the training tracks of \`day\`: ` +
    `${counted.toLocaleString('en')} counted, ${alarms} alarms.\n` +
    '- An honest stream beside a hostile one of noise, of one colour, and of what is no number: its alarms after a change ' +
    `to fog come at the same pictures as alone ${moved.length === 0 ? 'beside each' : `but for ${moved.join()}`}.\n` +
    `- ${STREAMS.toLocaleString('en')} streams of a thousand callers: ${watch.report(0).streams.watched} are watched; ` +
    `${us.toFixed(1)} µs a picture.`
}

function honestAlarms (
  signature: Signature, before: Pool, after: Pool, hostile: () => Pool[number] | undefined
): number[] {
  const watch = new DomainWatch(signature.scores, DIAL, 0)
  const uniform = seededUniform(SEED + 3)
  const found: number[] = []
  for (let at = 0; at < HONEST; at++) {
    const other = hostile()
    if (other !== undefined) see(watch, other, at, `s${at}`, 'other')
    const picture = { ...pick(at < HONEST / 2 ? before : after, uniform), caller: 'honest', stream: 'honest', nearest: undefined, at }
    if (watch.see(picture).some(({ stream }) => stream === 'honest')) found.push(at)
  }
  return found
}

/** Requests a second with and without, in turns. */
async function cost (): Promise<string> {
  const contenders = await Promise.all([{}, { BANKSWITCH_DRIFT_ERT: String(DIAL) }].map(async (settings) => {
    const server = await startBenchServer({ BANKSWITCH_LOG_LEVEL: 'error', ...settings })
    return { server, client: new Client(server, CONNECTIONS), rates: [] as number[] }
  }))
  try {
    for (let round = -1; round < Number(values.rounds); round++) {
      for (const { client, rates } of round % 2 === 0 ? contenders : contenders.toReversed()) {
        const rate = await chunk(client)
        if (round >= 0) rates.push(rate)
      }
    }
  } finally {
    for (const { server, client } of contenders) {
      client.close()
      await server.stop()
    }
  }
  const [off, on] = contenders.map(({ rates }) => rates) as [number[], number[]]
  const ratio = quantile(on.map((rate, round) => rate / off[round]!), 0.5)
  return `One row a request over ${CONNECTIONS} connections, ${values.rounds} rounds of ${REQUESTS_PER_CHUNK} requests in turns: ` +
    `${quantile(off, 0.5).toFixed(0)} requests/s without, ${quantile(on, 0.5).toFixed(0)} with drift at the default share; ` +
    `median ratio of neighbours ${ratio.toFixed(3)}.`
}

async function chunk (client: Client): Promise<number> {
  const { body, headers } = signsRequest(1)
  let left = REQUESTS_PER_CHUNK
  const begin = performance.now()
  await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
    while (left-- > 0) await client.call('POST', `/v2/models/${MODEL}/infer`, body, { ...headers, 'x-domain': 'day' })
  }))
  return REQUESTS_PER_CHUNK / (performance.now() - begin) * 1000
}
