/** Shapes of jobs: calibrations that were accepted, how they stand, and what came of them. */
import { Type } from '#typebox'
import type { JobRecord } from '../calibration/jobs.js'

/** A later server may have noted more. */
const open = { additionalProperties: true }

const ImagesSchema = Type.Object({
  given: Type.Integer(),
  used: Type.Integer(),
  duplicates: Type.Integer(),
  broken: Type.Integer(),
  brokenImages: Type.Array(Type.Object({ name: Type.String(), code: Type.String() }, open), {
    description: 'The first hundred of the broken'
  })
}, open)

const ReportSchema = Type.Object({
  mode: Type.String(),
  images: Type.Integer({ description: 'Those that the statistics are made of' }),
  forwardRuns: Type.Number({ description: 'Work per image in forward runs' }),
  verdict: Type.Object({
    isSettled: Type.Boolean(),
    imagesNeeded: Type.Number({ description: 'They would settle every layer, if further images are like these' }),
    text: Type.String()
  }, open),
  layers: Type.Array(Type.Object({
    layer: Type.String(),
    meanError: Type.Number({ description: 'Standard error, in standard deviations' }),
    varianceError: Type.Number({ description: 'Standard error, as a share of the variance' }),
    isSettled: Type.Boolean(),
    deadChannels: Type.Integer({ description: 'Those with hardly any variance' })
  }, open)),
  warnings: Type.Array(Type.Object({ code: Type.String(), message: Type.String() }, open)),
  predictions: Type.Optional(Type.Object({
    images: Type.Integer(),
    before: Type.Array(Type.Integer(), { description: 'Images per class under the base bank' }),
    after: Type.Array(Type.Integer(), { description: 'Images per class under the new one' }),
    distance: Type.Number({ description: 'Total variation distance between the two' }),
    effectiveClasses: Type.Number({ description: 'How many classes the new predictions have in effect' })
  }, open))
}, open)

const ResultSchema = Type.Object({
  model: Type.String(),
  domain: Type.String(),
  version: Type.Optional(Type.Integer({ description: 'Absent where nothing was to be registered' })),
  digest: Type.String({ description: 'Content hash of the bank' }),
  active: Type.Boolean(),
  hasSignature: Type.Optional(Type.Boolean()),
  images: Type.Optional(ImagesSchema),
  report: Type.Optional(ReportSchema),
  decodeMs: Type.Optional(Type.Number({ description: 'Reading the images' })),
  forwardMs: Type.Optional(Type.Number({ description: 'Forward runs' }))
}, {
  ...open,
  title: 'JobResult',
  description: 'Of a job whose server ended before it could tell, only the version that was found'
})

export const JobSchema = Type.Object({
  id: Type.String(),
  state: Type.Unsafe<JobRecord['state']>({
    type: 'string', enum: ['queued', 'running', 'succeeded', 'failed', 'cancelled']
  }),
  progress: Type.Number({ description: 'Share of the work that is done, 0 to 1' }),
  subject: Type.Record(Type.String(), Type.Unknown()),
  createdAt: Type.String(),
  startedAt: Type.Optional(Type.String()),
  endedAt: Type.Optional(Type.String()),
  result: Type.Optional(Type.Unsafe<unknown>(ResultSchema)),
  error: Type.Optional(Type.Object({
    code: Type.String(), message: Type.String(), details: Type.Optional(Type.Record(Type.String(), Type.Unknown()))
  }))
}, { title: 'Job' })

export const AcceptedSchema = Type.Object({ id: Type.String(), state: Type.String() }, { title: 'Accepted' })
