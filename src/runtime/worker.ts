/**
 * One inference thread: a session per model, further ones for single banks, the banks it was told to keep, one run at a
 * time. A bank arrives as folded
 * pairs, a tenth of its size, and is packed here, where nobody else waits for it.
 *
 * It decides nothing. Which bank stays and which goes is the pool's ledger; a run either brings its bank or uses one
 * that the ledger knows to be here.
 */
import assert from 'node:assert'
import { parentPort, workerData } from 'node:worker_threads'
import { AlignedSlots } from '../base/aligned-floats.js'
import { toErrorRecord } from '../base/errors.js'
import { yieldToOthers } from '../base/thread-priority.js'
import { elementCount } from '../base/dims.js'
import { Packer } from '../bank/pack.js'
import { openSession, type PlainTensor, type Session } from '../ort/session.js'
import type { FromWorker, InferenceWorkerData, LoadRequest, RunRequest, ServedModel, ToWorker } from './messages.js'

const port = parentPort
assert(port !== null, 'worker.js must run in a worker thread')

yieldToOthers((workerData as InferenceWorkerData).niceness)

const models = new Map<string, LoadedModel>()
const banks = new Map<string, HeldBank>()

interface LoadedModel {
  session: Session
  /**
   * For runs of unusual sizes, while they are small: it makes no plans. A session remembers the plan of every shape
   * that it has met, and never gives back what its largest run took.
   */
  planless?: Session | undefined
  served: ServedModel
  packer: Packer
  /** Memory of a bank that went is taken by the next one, so that rotation makes no garbage. */
  memory: AlignedSlots
}

interface HeldBank {
  modelId: string
  flat: Float32Array
  /** Views of `flat`. */
  tensors: Record<string, PlainTensor>
}

port.on('message', (message: ToWorker) => {
  if (message.type === 'load') void load(message)
  else if (message.type === 'run') void run(message)
  else if (message.type === 'unload') void unload(message.modelId)
  else void close()
})

async function load ({ model }: LoadRequest): Promise<void> {
  try {
    // The runtime keeps a plan of its memory for every shape that it has met, and never forgets one.
    const memoryPattern = model.takesAnySize !== true
    const session = await openSession(model.graphPath, { optimization: 'disabled', memoryPattern })
    const { id, layout } = model
    models.set(id, { session, served: model, packer: new Packer(layout), memory: new AlignedSlots(layout.length) })
    send({ type: 'loaded', modelId: model.id })
  } catch (thrown) {
    send({ type: 'load-failed', modelId: model.id, error: toErrorRecord(thrown) })
  }
}

async function run (request: RunRequest): Promise<void> {
  const { job, modelId, bankKey, wanted } = request
  try {
    const model = models.get(modelId)
    assert(model !== undefined, `model ${modelId} is not loaded`)
    for (const key of request.evicted) forget(key)
    if (request.bank !== undefined && bankKey !== undefined) {
      const held = roomFor(model)
      model.packer.pack(request.bank, held.flat)
      banks.set(bankKey, held)
    }
    const bank = bankKey === undefined ? undefined : banks.get(bankKey)
    assert((bank === undefined) === (bankKey === undefined), `bank ${bankKey} is not here`)
    const begin = performance.now()
    const session = request.keeps === 'everything' ? model.session : await planlessOf(model)
    const outputs = await session.run({ ...request.feeds, ...bank?.tensors }, wanted)
    const inferMs = performance.now() - begin
    if (request.keeps === 'nothing') await releasePlanless(model)
    send({ type: 'done', job, outputs, inferMs }, Object.values(outputs).map(({ data }) => (data as Uint8Array).buffer))
  } catch (thrown) {
    send({ type: 'failed', job, error: toErrorRecord(thrown) })
  }
}

/** Of a session besides those of the models, for which nothing runs any more. */
async function unload (modelId: string): Promise<void> {
  const model = models.get(modelId)
  models.delete(modelId)
  await model?.session.release()
  if (model !== undefined) await releasePlanless(model)
}

async function planlessOf (model: LoadedModel): Promise<Session> {
  model.planless ??= await openSession(model.served.graphPath, { optimization: 'disabled', memoryPattern: false })
  return model.planless
}

async function releasePlanless (model: LoadedModel): Promise<void> {
  const { planless } = model
  model.planless = undefined
  await planless?.release()
}

function roomFor ({ served: { id, bankInputs }, memory }: LoadedModel): HeldBank {
  const flat = memory.take()
  const tensors = Object.fromEntries(bankInputs.map(({ name, offset, dims }): [string, PlainTensor] => {
    return [name, { type: 'float32', dims, data: flat.subarray(offset, offset + elementCount(dims)) }]
  }))
  return { modelId: id, flat, tensors }
}

function forget (key: string): void {
  const held = banks.get(key)
  banks.delete(key)
  if (held !== undefined) models.get(held.modelId)?.memory.give(held.flat)
}

async function close (): Promise<void> {
  for (const model of models.values()) {
    await model.session.release()
    await releasePlanless(model)
  }
  port!.close()
}

function send (message: FromWorker, transfer: ArrayBufferLike[] = []): void {
  port!.postMessage(message, transfer as ArrayBuffer[])
}
