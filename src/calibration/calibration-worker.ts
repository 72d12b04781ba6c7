/** The calibration's thread: takes one request, tells its progress, ends with an outcome. See calibration-thread.ts. */
import assert from 'node:assert'
import { parentPort, workerData } from 'node:worker_threads'
import { toErrorRecord } from '../base/errors.js'
import { yieldToOthers } from '../base/thread-priority.js'
import { prepareSource } from '../compiler/pipeline.js'
import { calibrate } from './calibrate.js'
import { readImages, readTensors, type ImageCounts } from './read-images.js'
import { calibrationErrors } from './errors.js'
import { signatureOfPictures, signatureOfTensors, type SignatureRequest } from './take-signature.js'
import { IMAGES_MIN, type Signature } from '../signature/signature.js'
import type {
  CalibrationOutcome, CalibrationRequest, ThreadData, ThreadMessage
} from './calibration-thread.js'

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

/** Mode `signature`: the bank stays as it is. */
async function runSignature (request: CalibrationRequest, taken: SignatureRequest): Promise<CalibrationOutcome> {
  const { options, uploads, isTensors, imagePixels, base } = request
  const begin = performance.now()
  const { signature, images } = isTensors
    ? await ofTensors(request, taken)
    : await signatureOfPictures(taken, { uploads, imagePixels, isStrict: options.strict, onProgress: progress })
  const { images: used } = signature
  return {
    bank: base,
    moments: new Map(),
    signature,
    images,
    report: {
      mode: options.mode,
      images: used,
      forwardRuns: 0,
      verdict: { isSettled: true, imagesNeeded: used, text: `a signature of ${used} images` },
      layers: [],
      warnings: []
    },
    decodeMs: 0,
    forwardMs: performance.now() - begin
  }
}

async function ofTensors (
  request: CalibrationRequest, taken: SignatureRequest
): Promise<{ signature: Signature, images: ImageCounts }> {
  const { images, given, duplicates } = readTensors(request.uploads[0]!.bytes, {
    ...request, isStrict: true, isShuffled: false, onProgress: progress
  })
  const signature = await signatureOfTensors(taken, images)
  if (signature !== undefined) {
    return { signature, images: { given, used: signature.images, duplicates, broken: 0, brokenImages: [] } }
  }
  const { dims } = images[taken.input]!
  throw calibrationErrors.CALIBRATION_TENSORS_INVALID('these images do not make a signature', {
    expected: `at least ${IMAGES_MIN}, each as [${taken.shape?.join(', ') ?? ''}]`, received: `[${dims.join(', ')}]`
  })
}

async function run (request: CalibrationRequest): Promise<CalibrationOutcome> {
  if (request.options.mode === 'signature') return await runSignature(request, request.signature!)
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
  const taken = request.signature
  const signature = taken === undefined ? undefined : await signatureOfTensors(taken, set.images)
  return {
    ...calibrated,
    ...(signature === undefined ? {} : { signature }),
    images: { given, used: calibrated.report.images, duplicates, broken: brokenCount, brokenImages: broken },
    decodeMs: decoded - begin,
    forwardMs: performance.now() - decoded
  }
}
