/**
 * Is the right bank chosen, and what is it worth? Test pictures of all domains shuffled, each a request with
 * X-Domain: auto, alone or with the X-Stream of a camera that sees one domain, against each picture's own domain by
 * header and against single banks for all.
 *
 *   npm run bench -- auto-accuracy --data FOLDER
 *
 * FOLDER holds gtsrb32.npz and sr/, as training/README.md tells.
 */
import { join } from 'node:path'
import { Agent } from 'node:http'
import { markdownTable } from '#src/cli/measure.js'
import { ask } from './ask.js'
import {
  DEGRADATIONS, halved, loadPairs, loadSigns, pngOf, psnrOf, shuffled, SIGN_DOMAINS, tensorOf, type Sign, type SignDomain
} from './domain-pictures.js'
import { openBench } from './report.js'
import { startBenchServer } from './server.js'

const { values, publish } = openBench('auto-accuracy', { data: '', seed: '1', every: '1' })
const { data } = values
if (data === '') throw new Error('--data FOLDER is needed')
const seed = Number(values.seed)
/** Only each so many-th picture, for a first look. */
const every = Number(values.every)

const CONNECTIONS = 4
/** Orders in which the few pictures of a degradation come as a stream. */
const ORDERS = 10
/** Asked with X-Domain: auto and a stream for each domain's pictures. */
const STREAMS = 'auto by streams'
const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
const server = await startBenchServer({ BANKSWITCH_QUEUE_ROWS: '4096' })
const sections: string[] = []
try {
  const signs = await loadSigns(join(data, 'gtsrb32.npz'), seed)
  sections.push(await asTheyCome(signs.test), await enlarged(signs.train.day, signs.test), await superResolution())
} finally {
  agent.destroy()
  await server.stop()
}
await publish(sections.join('\n\n'))

interface Answer { domain: string, label: number, fit: string | undefined }

interface Task {
  of: SignDomain
  sign: Sign
  answers: Map<string, Answer>
}

function shuffledTasks (test: Record<SignDomain, Sign[]>): Task[] {
  const tasks = SIGN_DOMAINS.flatMap((of) => test[of].filter((_, at) => at % every === 0).map((sign): Task => ({ of, sign, answers: new Map() })))
  return shuffled(tasks, seed)
}

/** Answers each task, some at a time. */
async function inTurns<Item> (items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const rest = items.values()
  await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
    for (const item of rest) await work(item)
  }))
}

/** The headers that ask so for a picture of the domain. */
function wishHeaders (wish: string, of: string): Record<string, string> {
  return wish === STREAMS ? { 'x-domain': 'auto', 'x-stream': of } : { 'x-domain': wish }
}

async function infer ({ of, sign: { side, ...rest } }: Task, wish: string): Promise<Answer> {
  const tensor = Buffer.from(tensorOf({ side, ...rest }).buffer)
  const header = Buffer.from(JSON.stringify({
    inputs: [{ name: 'input', shape: [1, 3, side, side], datatype: 'FP32', parameters: { binary_data_size: tensor.length } }]
  }))
  const { status, body } = await ask({
    method: 'POST',
    url: `${server.address}/v2/models/traffic-signs/infer`,
    headers: {
      'inference-header-content-length': String(header.length), 'content-type': 'application/octet-stream', ...wishHeaders(wish, of)
    },
    body: Buffer.concat([header, tensor]),
    agent
  })
  const answer = JSON.parse(body.toString()) as {
    parameters: { domain: string, domain_fit?: string }, outputs: Array<{ data: number[] }>
  }
  if (status !== 200) throw new Error(body.toString())
  const scores = answer.outputs[0]!.data
  return { domain: answer.parameters.domain, label: scores.indexOf(Math.max(...scores)), fit: answer.parameters.domain_fit }
}

async function predict (png: Buffer, { of }: Task, wish: string): Promise<Answer> {
  const { status, body } = await ask({
    method: 'POST',
    url: `${server.address}/v1/models/traffic-signs/predict?top=1`,
    headers: { 'content-type': 'image/png', ...wishHeaders(wish, of) },
    body: png,
    agent
  })
  if (status !== 200) throw new Error(body.toString())
  const answer = JSON.parse(body.toString()) as {
    domain: string, predictions: [{ index: number }], recognised?: { fit: string }
  }
  return { domain: answer.domain, label: answer.predictions[0].index, fit: answer.recognised?.fit }
}

async function asTheyCome (test: Record<SignDomain, Sign[]>): Promise<string> {
  const tasks = shuffledTasks(test)
  for (const wish of ['auto', STREAMS, ...SIGN_DOMAINS]) {
    await inTurns(tasks, async (task) => { task.answers.set(wish, await infer(task, wish)) })
  }
  return `**traffic-signs, tensors as they come** (\`lowres\` at 16 x 16), ${tasks.length} requests in one shuffled order.\n\n` +
    tables(tasks)
}

/** Pictures of 32 x 32 all: `lowres` is told by what it looks like, once its enlarged pictures have a signature. */
async function enlarged (trainedOn: readonly Sign[], test: Record<SignDomain, Sign[]>): Promise<string> {
  const side = 32
  const kernels = ['linear', 'cubic'] as const
  const form = new FormData()
  form.append('mode', 'signature')
  form.append('signatureSize', `${side}x${side}`)
  for (const [at, sign] of trainedOn.filter((_, at) => at % 3 === 0).entries()) {
    const png = await pngOf(halved(sign), side, kernels[at % kernels.length]!)
    form.append('images', new Blob([new Uint8Array(png)]), `${at}.png`)
  }
  await calibrate('lowres', form)
  const tasks = shuffledTasks(test)
  const pngs = new Map<Task, Buffer>()
  for (const [at, task] of tasks.entries()) pngs.set(task, await pngOf(task.sign, side, kernels[at % kernels.length]!))
  for (const wish of ['auto', STREAMS, ...SIGN_DOMAINS]) {
    await inTurns(tasks, async (task) => { task.answers.set(wish, await predict(pngs.get(task)!, task, wish)) })
  }
  return `**traffic-signs, pictures enlarged to ${side} x ${side} first**, after \`bankswitch signature --size ${side}x${side}\` for \`lowres\`.\n\n` +
    tables(tasks)
}

async function calibrate (domain: string, form: FormData): Promise<void> {
  const headers = { authorization: `Bearer ${server.adminKey}` }
  const started = await fetch(`${server.address}/admin/models/traffic-signs/domains/${domain}/calibrations`, { method: 'POST', headers, body: form })
  const { id } = await started.json() as { id?: string }
  if (id === undefined) throw new Error(`the calibration was refused: ${started.status}`)
  for (let state = ''; state !== 'succeeded';) {
    await new Promise((resolve) => setTimeout(resolve, 200))
    const job = await (await fetch(`${server.address}/admin/jobs/${id}`, { headers })).json() as { state: string, error?: unknown }
    if (job.error !== undefined) throw new Error(JSON.stringify(job.error))
    state = job.state
  }
}

function tables (tasks: readonly Task[]): string {
  const percent = (part: readonly Task[], isSo: (task: Task) => boolean) => (100 * part.filter(isSo).length / part.length).toFixed(2)
  const accuracy = (part: readonly Task[], wish: string) => percent(part, ({ sign, answers }) => answers.get(wish)!.label === sign.label)
  const rows = SIGN_DOMAINS.map((of) => {
    const part = tasks.filter((task) => task.of === of)
    return [`${of} (${part.length})`, accuracy(part, of), accuracy(part, 'auto'), accuracy(part, STREAMS), ...SIGN_DOMAINS.map((bank) => accuracy(part, bank))]
  })
  const own = percent(tasks, ({ of, sign, answers }) => answers.get(of)!.label === sign.label)
  rows.push([`all (${tasks.length})`, own, accuracy(tasks, 'auto'), accuracy(tasks, STREAMS), ...SIGN_DOMAINS.map((bank) => accuracy(tasks, bank))])
  const confusion = SIGN_DOMAINS.map((of) => {
    const part = tasks.filter((task) => task.of === of)
    return [of, ...SIGN_DOMAINS.map((domain) => percent(part, ({ answers }) => answers.get('auto')!.domain === domain)),
      percent(part, ({ answers }) => answers.get('auto')!.fit === 'none')]
  })
  return `Accuracy in %:\n\n${markdownTable(['pictures', 'own by header', 'auto', STREAMS, ...SIGN_DOMAINS.map((bank) => `all ${bank}`)], rows)}\n\n` +
    `Domains that answered, in %:\n\n${markdownTable(['pictures', ...SIGN_DOMAINS, 'fit none'], confusion)}`
}

async function superResolution (): Promise<string> {
  const rows: string[][] = []
  const sums: number[][] = []
  for (const kind of DEGRADATIONS) {
    const pairs = await loadPairs(join(data, 'sr'), 'test', kind, seed)
    const answered = new Map<string, number>()
    const [own, auto, streams] = [[] as number[], [] as number[], [] as number[]]
    await inTurns(pairs, async ({ low, sharp }) => {
      const chosen = await doubled(low, { 'x-domain': 'auto' })
      own.push(await psnrOf((await doubled(low, { 'x-domain': kind })).picture, sharp))
      auto.push(await psnrOf(chosen.picture, sharp))
      answered.set(chosen.domain, (answered.get(chosen.domain) ?? 0) + 1)
    })
    await inTurns(Array.from({ length: ORDERS }, (_, order) => order), async (order) => {
      for (const { low, sharp } of shuffled(pairs, seed + order)) {
        const { picture } = await doubled(low, wishHeaders(STREAMS, `${kind}-${order}`))
        streams.push(await psnrOf(picture, sharp))
      }
    })
    const means = [own, auto, streams].map(meanOf)
    sums.push(means)
    rows.push([`${kind} (${pairs.length})`, ...means.map((mean) => mean.toFixed(2)), ...DEGRADATIONS.map((bank) => String(answered.get(bank) ?? 0))])
  }
  const means = sums[0]!.map((_, at) => meanOf(sums.map((kind) => kind[at]!)).toFixed(2))
  rows.push(['mean', ...means, ...DEGRADATIONS.map(() => '')])
  return `**sr-x2**, PSNR in dB, and how many pictures each bank answered with \`auto\`; streams in ${ORDERS} orders.\n\n` +
    markdownTable(['pictures', 'right bank', 'auto', STREAMS, ...DEGRADATIONS], rows)
}

function meanOf (values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

async function doubled (picture: Buffer, headers: Record<string, string>): Promise<{ domain: string, picture: Buffer }> {
  const response = await fetch(`${server.address}/v1/models/sr-x2/predict`, {
    method: 'POST',
    headers: { 'content-type': 'image/png', accept: 'image/png', ...headers },
    body: new Uint8Array(picture)
  })
  const body = Buffer.from(await response.arrayBuffer())
  if (!response.ok) throw new Error(body.toString())
  return { domain: response.headers.get('x-domain')!, picture: body }
}
