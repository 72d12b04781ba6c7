/** Pass: what preparing changed, compared with the file itself, run by the runtime as it is. */
import { openSession, type PlainTensor } from '../../ort/session.js'
import { compilerErrors } from '../errors.js'
import { relativeError } from '../prove.js'
import { resolveSampleShapes, sampleFeeds, type SampleShapes } from '../sample-inputs.js'
import type { PreparedModel } from '../compilation.js'

const SEED = 200

/** Throws COMPILE_SOURCE_CHANGED when the prepared model does not compute what the file does. */
export async function verifyPrepared (
  { bytes, source, changedBy, tolerance }: PreparedModel, given: readonly SampleShapes[]
): Promise<void> {
  if (source === undefined || changedBy.length === 0) return
  const original = await openSession(source.path, { optimization: 'all' })
  const prepared = await openSession(bytes, { optimization: 'all' })
  try {
    for (const shapes of resolveSampleShapes(original.inputs, given)) {
      const feeds: Record<string, PlainTensor> = sampleFeeds(original.inputs, shapes, 2, SEED)
      const expected = await original.run(feeds)
      const actual = await prepared.run(feeds)
      for (const name of Object.keys(expected)) {
        const error = relativeError(actual[name]!, expected[name]!)
        if (error <= tolerance) continue
        throw compilerErrors.COMPILE_SOURCE_CHANGED(
          `bringing the batch norms of the model into the open changes its output "${name}"`,
          { expected: `at most ${tolerance}`, received: error }
        )
      }
    }
  } finally {
    await original.release()
    await prepared.release()
  }
}
