/** The calibration's thread: takes one request, tells its progress, ends with an outcome. See calibration-thread.ts. */
import assert from 'node:assert'
import { parentPort, workerData } from 'node:worker_threads'
import { toErrorRecord } from '../base/errors.js'
import { yieldToOthers } from '../base/thread-priority.js'
import { prepareSource } from '../compiler/pipeline.js'
import { calibrate } from './calibrate.js'
import { readImages, readTensors } from './read-images.js'
import { calibrationErrors } from './errors.js'
import type { CalibrationOutcome, CalibrationRequest, ThreadData, ThreadMessage } from './calibration-thread.js'

/** Of a core that both want, a tenth of what an inference thread gets: enough to come to an end on a busy server. */
const NICENESS = 15

/** Reading the images counts as this share of the work. */
const READING_SHARE = 0.3

const port = parentPort
assert(port !== null, 'calibration-worker.js must run in a worker thread')

yieldToOthers(NICENESS)

const send = (message: ThreadMessage) => port.postMessage(message)

const data = workerData as ThreadData

/** Throws JOB_CANCELLED once the job is. */
function progress (share: number): void {
  if (Atomics.load(data.cancelled, 0) !== 0) throw calibrationErrors.JOB_CANCELLED('the job was cancelled')
  send({ type: 'progress', share })
}

try {
  send({ type: 'done', outcome: await run(data) })
} catch (thrown) {
  send({ type: 'failed', error: toErrorRecord(thrown) })
}

async function run (request: CalibrationRequest): Promise<CalibrationOutcome> {
  const { options, uploads, isTensors } = request
  const begin = performance.now()
  const reading = {
    ...request,
    // The images are held twice for a moment, apart and as one tensor.
    budgetBytes: request.budgetBytes / 2,
    isStrict: options.strict,
    isShuffled: options.stopEarly,
    onProgress: (share: number) => progress(READING_SHARE * share)
  }
  const set = isTensors ? readTensors(uploads[0]!.bytes, reading) : await readImages(uploads, reading)
  uploads.length = 0
  const decoded = performance.now()
  const calibrated = await calibrate({
    ...request,
    model: (await prepareSource(request.source)).bytes,
    images: set.images,
    duplicates: set.duplicates,
    broken: set.brokenCount,
    onProgress: (share) => progress(READING_SHARE + (1 - READING_SHARE) * share)
  })
  const { given, duplicates, brokenCount, broken } = set
  return {
    ...calibrated,
    images: { given, used: calibrated.report.images, duplicates, broken: brokenCount, brokenImages: broken },
    decodeMs: decoded - begin,
    forwardMs: performance.now() - decoded
  }
}
