/** What is asked of a calibration, and what is registered of it; the forward runs are the test's own. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, it } from 'node:test'
import { contributionParts, type Contribution } from '#src/calibration/contributions.js'
import { completeOptions } from '#src/calibration/options.js'
import { Calibrations, openCalibrationJobs, type Uploads } from '#src/serving/calibrating/calibrations.js'
import { versionFile } from '#src/serving/changing/registration.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { hasCode } from '../support/errors.js'
import { gate } from '../support/gate.js'
import { bankOf, openHouse, pictures, readyModel, scoresOf, type House } from '../support/served.js'
import type { CalibrationOutcome, CalibrationRequest } from '#src/calibration/calibration-thread.js'
import type { JobRecord } from '#src/calibration/jobs.js'
import type { Logger } from '#src/observability/logger.js'
import type { ReadyModel } from '#src/serving/model-states.js'

const opened: Array<() => Promise<void>> = []
afterEach(async () => { for (const close of opened.splice(0)) await close() })

const FILE = { name: 'a.png', bytes: Buffer.from('x') }
const pictureUploads = (): Uploads => ({ kind: 'pictures', files: [FILE] }) as unknown as Uploads
const options = (given = {}) => completeOptions(given)

/** Sums of `images` images whose first channel has this mean and whose variance is 1. */
function sumsOf (mean: number, images: number, forward = 'fixed under x'): Contribution {
  const moments = { count: images, mean: Float64Array.of(mean, 0), squares: Float64Array.of(images, images) }
  return { forward, images, moments: new Map([['bn', moments]]) }
}

function outcome (shift: number): CalibrationOutcome {
  return {
    bank: bankOf(shift), moments: sumsOf(shift, 9).moments, report: { images: 9 }, images: { used: 9 }, decodeMs: 1, forwardMs: 2
  } as unknown as CalibrationOutcome
}

/** `calibrate` is asked in the thread's place. */
async function setUp (
  calibrate: (request: CalibrationRequest, onProgress: (share: number) => void, signal?: AbortSignal) => Promise<CalibrationOutcome>,
  model: ReadyModel = readyModel(MANIFEST)
) {
  const clock = { now: Date.now() }
  const house = await openHouse({ models: [model], now: () => clock.now })
  const folder = await mkdtemp(join(tmpdir(), 'bankswitch-calibrations-'))
  const warnings: unknown[][] = []
  const logger = { warn: (...given: unknown[]) => { warnings.push(given) }, error: () => {} } as unknown as Logger
  const openJobs = (recovers = false) => openCalibrationJobs({ store: house.store, folder, recovers, logger })
  const needs = { store: house.store, registerMade: house.admin.registerMade.bind(house.admin), calibrate }
  const limits = { imagePixels: 100, calibrationBytes: 1000 }
  const jobs = await openJobs()
  const calibrations = new Calibrations(needs, house.states, limits, jobs)
  opened.push(async () => {
    await calibrations.close()
    await rm(folder, { recursive: true, force: true })
  })
  /** The same over other needs. */
  const over = (given: Partial<typeof needs>) => ({ calibrations: new Calibrations({ ...needs, ...given }, house.states, limits, jobs) })
  return { ...house, clock, calibrations, openJobs, over, warnings }
}

const scores = async ({ answering }: Pick<House, 'answering'>, header: string) => {
  return scoresOf(await answering.infer('signs', { wish: { header }, feeds: pictures(1) }))
}

const refuse = async () => assert.fail('nothing is to be computed')

describe('a calibration', () => {
  it('that comes out well is registered in one step, and answers', async () => {
    const house = await setUp(async () => outcome(4))
    const { id } = await house.calibrations.start('signs', 'night', pictureUploads(), options({ description: 'dark' }))
    const job = await house.calibrations.ended(id)
    const { version, active, domain } = job.result as { version: number, active: boolean, domain: string }
    assert.deepEqual([job.state, version, active, domain], ['succeeded', 1, true, 'night'])
    const record = house.store.domain('signs', 'night')!
    assert.deepEqual([record.description, record.versions[0]!.source], ['dark', 'calibration'])
    assert.deepEqual(await scores(house, 'night'), [5, -3])
    assert.deepEqual((await house.calibrations.jobs()).map((one) => one.id), [id])
  })

  it('that fails registers nothing', async () => {
    const house = await setUp(async () => { throw new Error('no memory') })
    const { id } = await house.calibrations.start('signs', 'night', pictureUploads(), options())
    assert.equal((await house.calibrations.ended(id)).state, 'failed')
    assert.equal(house.store.domain('signs', 'night'), undefined)
  })

  it('that is cancelled registers nothing', async () => {
    const { reached, pass } = gate()
    const house = await setUp(async (_request, _onProgress, signal) => {
      void pass()
      await once(signal!, 'abort')
      throw signal!.reason
    })
    const { id } = await house.calibrations.start('signs', 'night', pictureUploads(), options())
    await reached
    assert.equal((await house.calibrations.cancel(id)).state, 'cancelled')
    assert.equal(house.store.domain('signs', 'night'), undefined)
    assert.equal((await house.calibrations.job(id)).state, 'cancelled')
  })

  it('whose bank the gate refuses is stored, not active, and its job failed', async () => {
    const house = await setUp(async () => outcome(4))
    await house.publish('night', 1)
    house.pool.network = () => ({ logits: { type: 'float32', dims: [1, 2], data: Float32Array.of(NaN, 0) } })
    const { id } = await house.calibrations.start('signs', 'night', pictureUploads(), options())
    const job = await house.calibrations.ended(id)
    assert.deepEqual([job.state, job.error?.code], ['failed', 'GATE_FAILED'])
    const record = house.store.domain('signs', 'night')!
    assert.deepEqual([record.active, record.versions.length], [1, 2])
  })

  it('is given base, rules and limits; the version keeps how its domain sees pictures', async () => {
    const asked: CalibrationRequest[] = []
    const house = await setUp(async (request) => {
      asked.push(request)
      return outcome(2)
    }, readyModel(MANIFEST, { inputs: [{ name: 'x', type: 'float32', dims: [6, 3, null, null] }] }))
    const preprocessing = { size: { width: 5, height: 5 } }
    await house.publish('night', 1, { preprocessing })
    await house.publish('fog', 3)
    const uploads = pictureUploads()
    await house.calibrations.run('signs', 'night', uploads, options({ base: 'fog' }), { isRegistered: true, onProgress: () => {} })
    const [request] = asked
    assert.deepEqual([...request!.base.get('bn')!.beta], [3, -3])
    assert.deepEqual(request!.rules?.size, preprocessing.size)
    assert.deepEqual([request!.imagePixels, request!.budgetBytes, request!.options.batchSize, request!.isTensors], [100, 1000, 6, false])
    assert.equal(request!.classOutput, 'logits')
    assert.deepEqual(uploads.kind === 'pictures' && uploads.files, [], 'the uploads are given away')
    assert.deepEqual(house.store.domain('signs', 'night')!.versions[1]!.preprocessing, preprocessing)
    await house.calibrations.run('signs', 'fog', pictureUploads(), options(), { isRegistered: false, onProgress: () => {} })
    assert.deepEqual([...asked[1]!.base.get('bn')!.beta].map(Math.abs), [0, 0], 'the default domain is the base')
  })

  it('may give its file without registering it', async () => {
    const house = await setUp(async (_request, onProgress) => {
      onProgress(0.5)
      return outcome(2)
    })
    const shares: number[] = []
    const { file, result } = await house.calibrations.run('signs', 'night', pictureUploads(), options(), {
      isRegistered: false, onProgress: (share) => { shares.push(share) }
    })
    assert.deepEqual([result.active, result.version, shares], [false, undefined, [0.5]])
    assert.equal(house.store.domain('signs', 'night'), undefined)
    assert.match(Buffer.from(file).toString('latin1'), /"bankswitch.source":"calibration"/)
  })

  it('is refused at once for what is wrong with the request', async () => {
    const house = await setUp(refuse)
    const start = async (uploads: Uploads, given = {}, model = 'signs') => {
      return await house.calibrations.start(model, 'night', uploads, options(given))
    }
    await assert.rejects(start({ kind: 'pictures', files: [] }), hasCode('CALIBRATION_TOO_FEW_IMAGES', { received: 0 }))
    await assert.rejects(start(pictureUploads(), { layers: ['nothing*'] }), hasCode('CALIBRATION_LAYER_UNKNOWN'))
    await assert.rejects(start(pictureUploads(), { base: 'fog' }), hasCode('DOMAIN_NOT_FOUND'))
    await assert.rejects(start(pictureUploads(), { base: 'day:9' }), hasCode('VERSION_NOT_FOUND'))
    await assert.rejects(start(pictureUploads(), {}, 'other'), hasCode('MODEL_NOT_FOUND'))
    assert.throws(() => house.calibrations.requireRoom('other'), hasCode('MODEL_NOT_FOUND'))
    house.calibrations.requireRoom('signs')
    assert.deepEqual(await house.calibrations.jobs(), [])
  })

  it('of a model with several inputs is refused', async () => {
    const x = { name: 'x', type: 'float32' as const, dims: [null, 3, null, null] }
    const house = await setUp(refuse, readyModel(MANIFEST, { inputs: [x, { ...x, name: 'y' }] }))
    const work = house.calibrations.start('signs', 'night', pictureUploads(), options())
    await assert.rejects(work, hasCode('TASK_MISMATCH', { received: 2 }))
  })
})

describe('a job that was cut off', () => {
  /** A process that dies after it has noted its commit of a bank that shifts by 4; `before` it and `atCommit` publish. */
  async function cutOff (
    before: (house: Awaited<ReturnType<typeof setUp>>) => Promise<unknown>,
    atCommit: (register: () => Promise<unknown>) => Promise<unknown>
  ): Promise<{ job: JobRecord, warnings: unknown[][] }> {
    const { reached, pass } = gate()
    const house = await setUp(refuse)
    await before(house)
    house.clock.now += 1000
    const calibrations = new Calibrations({
      store: house.store,
      calibrate: async () => outcome(4),
      registerMade: async (...given) => {
        await atCommit(() => house.admin.registerMade(...given))
        void pass()
        return await new Promise<never>(() => {})
      }
    }, house.states, { imagePixels: 1, calibrationBytes: 1 }, await house.openJobs())
    await calibrations.start('signs', 'night', pictureUploads(), options())
    await reached
    const next = await house.openJobs(true)
    const [job] = next.list()
    await next.close()
    return { job: job!, warnings: house.warnings }
  }

  const nothing = async () => {}

  it('has succeeded if its version is there', async () => {
    const { job, warnings } = await cutOff(nothing, (register) => register())
    const { version, active } = job.result as { version: number, active: boolean }
    assert.deepEqual([job.state, version, active, warnings], ['succeeded', 1, true, []])
  })

  it('is lost if it is not', async () => {
    const { job, warnings } = await cutOff(nothing, nothing)
    assert.deepEqual([job.state, job.error?.code, warnings.length], ['failed', 'JOB_LOST', 1])
  })

  it('takes no other version for its own: of an earlier calibration, of another content, of another source', async () => {
    const made = (house: Awaited<ReturnType<typeof setUp>>, shift: number) => {
      return house.admin.registerMade(house.models[0]!, 'night', bankOf(shift), 'calibration', { isActivated: true })
    }
    for (const before of [
      (house: Awaited<ReturnType<typeof setUp>>) => made(house, 4),
      async (house: Awaited<ReturnType<typeof setUp>>) => {
        house.clock.now += 10_000
        await made(house, 5)
        await house.publish('night', 4)
        house.clock.now -= 10_000
      }
    ]) {
      assert.equal((await cutOff(before, nothing)).job.error?.code, 'JOB_LOST')
    }
  })
})

describe('contributions', () => {
  const fileOf = (contribution: Contribution, shift = 0) => {
    return versionFile(readyModel(MANIFEST), bankOf(shift), 'calibration', contributionParts(contribution))
  }
  const contribute = (house: Awaited<ReturnType<typeof setUp>>, operation: 'merge' | 'subtract', file: Uint8Array, minimum = 2) => {
    return house.calibrations.contribute('signs', 'night', { operation, file, minimumImages: minimum }, { isActivated: true })
  }
  const meanOf = async (house: Pick<House, 'answering'>) => {
    // With gamma and variance 1 the score is x - mean.
    return 1 - (await scores(house, 'night'))[0]!
  }

  it('begin a domain, add up by their counts, and come out again', async () => {
    const house = await setUp(refuse)
    assert.equal((await contribute(house, 'merge', fileOf(sumsOf(2, 10)))).images, 10)
    const begun = await scores(house, 'night')
    const { images, version } = await contribute(house, 'merge', fileOf(sumsOf(5, 30)))
    assert.deepEqual([images, version.version], [40, 2])
    const { version: third, images: left } = await contribute(house, 'subtract', fileOf(sumsOf(5, 30)))
    assert.deepEqual([left, third.version], [10, 3])
    for (const [at, score] of (await scores(house, 'night')).entries()) assert.ok(Math.abs(score - begun[at]!) < 1e-6)
    assert.ok(Math.abs(await meanOf(house) - 2) < 1e-6)
  })

  it('all count, though they come at once and others change the domain meanwhile', async () => {
    const house = await setUp(refuse)
    await contribute(house, 'merge', fileOf(sumsOf(2, 10)))
    let changes = 3
    const { calibrations } = house.over({
      registerMade: async (...given) => {
        // Just before the first ones are registered.
        if (changes-- > 0) await house.store.mark('signs', 'night', { kind: 'label', label: `l${changes}`, version: 1 })
        return await house.admin.registerMade(...given)
      }
    })
    const all = await Promise.all(Array.from({ length: 8 }, () => contribute({ ...house, calibrations }, 'merge', fileOf(sumsOf(5, 10)))))
    assert.deepEqual(all.map(({ images }) => images).sort((a, b) => a - b), [20, 30, 40, 50, 60, 70, 80, 90])
    assert.equal(house.store.domain('signs', 'night')!.versions.length, 9)
  })

  it('and calibrations happen at the expected revision only, whatever comes meanwhile', async () => {
    const house = await setUp(refuse)
    await contribute(house, 'merge', fileOf(sumsOf(2, 10)))
    const at = (expected: number, over = house.calibrations) => {
      return over.contribute('signs', 'night', { operation: 'merge', file: fileOf(sumsOf(5, 10)), minimumImages: 2 }, { isActivated: true, expected })
    }
    const failed = hasCode('PRECONDITION_FAILED')
    for (const expected of [0, 2]) await assert.rejects(at(expected), failed)
    const { reached, pass, open } = gate()
    const { calibrations } = house.over({
      registerMade: async (...given) => {
        await pass()
        return await house.admin.registerMade(...given)
      },
      calibrate: async () => outcome(4)
    })
    const slow = at(1, calibrations)
    const start = (expected: number) => calibrations.start('signs', 'night', pictureUploads(), options(), expected)
    await assert.rejects(start(2), failed)
    const { id } = await start(1)
    await reached
    await contribute(house, 'merge', fileOf(sumsOf(5, 10)))
    open()
    await assert.rejects(slow, failed)
    assert.equal((await calibrations.ended(id)).error?.code, 'PRECONDITION_FAILED')
    assert.equal(house.store.domain('signs', 'night')!.versions.length, 2)
  })

  it('are refused where they do not add up, too few, or are none; nothing is registered', async () => {
    const house = await setUp(refuse)
    await assert.rejects(contribute(house, 'merge', fileOf(sumsOf(2, 3)), 4), hasCode('CALIBRATION_TOO_FEW_IMAGES'))
    await assert.rejects(contribute(house, 'subtract', fileOf(sumsOf(2, 9))), hasCode('DOMAIN_NOT_FOUND'))
    assert.equal(house.store.domain('signs', 'night'), undefined)
    await contribute(house, 'merge', fileOf(sumsOf(2, 10)))
    await assert.rejects(contribute(house, 'merge', fileOf(sumsOf(2, 10, 'another forward'))), hasCode('CONTRIBUTION_MISMATCH'))
    await assert.rejects(contribute(house, 'subtract', fileOf(sumsOf(2, 9))), hasCode('CALIBRATION_TOO_FEW_IMAGES'))
    const without = versionFile(readyModel(MANIFEST), bankOf(0), 'calibration', { tensors: [], metadata: [] })
    await assert.rejects(contribute(house, 'merge', without), hasCode('CONTRIBUTION_MISSING'))
    assert.equal(house.store.domain('signs', 'night')!.versions.length, 1)
  })
})
