/** A model's way to the workers, with a compiler that is told what to give. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { bringToWorkers, restoreArtefact, type Obtain } from '#src/serving/preparing/preparation.js'
import { proveTiling } from '#src/serving/preparing/prove-tiling.js'
import { MANIFEST } from '../models/fixtures/manifests.js'
import { hasCode } from '../support/errors.js'
import { FakePool, type Network } from '../support/fake-pool.js'
import { DOUBLER } from '../support/models-folder.js'
import { compute, LAYERS, openHouse, readyModel } from '../support/served.js'
import type { Artefact } from '#src/compiler/artefact.js'
import type { ClassificationManifest, PictureManifest } from '#src/models/manifest.js'
import type { Logger } from '#src/observability/logger.js'
import type { ReadyModel } from '#src/serving/model-states.js'

function silentLogger () {
  const lines: string[] = []
  const write = (...given: unknown[]) => { lines.push(String(given.at(-1))) }
  const logger = { info: write, warn: write, error: write, child: () => logger } as unknown as Logger
  return { logger, lines }
}

/** Everything that preparing needs, over a store in which no domain is yet. */
async function setUp (manifest: PictureManifest = MANIFEST, given: Partial<Artefact> = {}) {
  const model = readyModel(manifest, given)
  const house = await openHouse({ models: [model] })
  const { pool } = house
  await house.store.removeDomain(manifest.name, manifest.defaultDomain)
  const { logger, lines } = silentLogger()
  const obtain: Obtain = async () => ({ artefact: model.artefact, key: 'key-1' })
  const registerMade = house.admin.registerMade.bind(house.admin)
  return { ...house, model, lines, needs: { obtain, pool, store: house.store, registerMade, logger } }
}

describe('bringing a model to the workers', () => {
  it('loads it, gives it a default domain of its own statistics, and warms up in each size', async () => {
    const sized: ClassificationManifest = { ...MANIFEST, domains: { small: { input: { size: { width: 8, height: 6 } } } } }
    const { needs, pool, store, model, lines } = await setUp(sized)
    const ready = await bringToWorkers(needs, model.entry)
    assert.deepEqual(pool.loaded.map(({ id, name, takesAnySize }) => [id, name, takesAnySize]), [['key-1', 'signs', false], ['key-1.stem', 'signs', false]])
    assert.deepEqual([ready.served, ready.stem], pool.loaded)
    const { versions, active } = store.domain('signs', 'day')!
    assert.deepEqual(versions.map(({ version, source }) => [version, source]), [[2, 'model']])
    assert.equal(active, 2)
    assert.deepEqual(pool.warmedUp.map(({ feeds }) => feeds.x!.dims), [[1, 3, 32, 32], [1, 3, 6, 8]])
    assert.deepEqual(lines, ['the default domain was missing and got the statistics of the model', 'model is ready'])
    // The statistics that came with the model are tried by nobody: without them there is no default domain.
    assert.deepEqual(pool.jobs, [])
  })

  it('leaves a default domain alone that is there, in whatever state', async () => {
    const { needs, store, model, publish } = await setUp()
    await publish('day', 5, { isActivated: false })
    await bringToWorkers(needs, model.entry)
    const { versions, active } = store.domain('signs', 'day')!
    assert.deepEqual([versions.length, active], [1, null])
  })

  it('that does not compile reaches neither workers nor store', async () => {
    const { needs, pool, store, model } = await setUp()
    const obtain: Obtain = async () => { throw new Error('does not compile') }
    await assert.rejects(bringToWorkers({ ...needs, obtain }, model.entry), /does not compile/)
    assert.deepEqual([pool.loaded, store.domains('signs')], [[], []])
  })

  it('that the workers cannot load gets no domain', async (t) => {
    const { needs, pool, store, model } = await setUp()
    t.mock.method(pool, 'load', async () => { throw new Error('no such operator') })
    await assert.rejects(bringToWorkers(needs, model.entry), /no such operator/)
    assert.deepEqual([store.domains('signs'), pool.warmedUp], [[], []])
  })

  it('fails when its first run does', async () => {
    const { needs, pool, model } = await setUp()
    pool.network = () => { throw new Error('cannot run') }
    await assert.rejects(bringToWorkers(needs, model.entry), /cannot run/)
  })

  it('must be what its manifest says, before anything is loaded', async () => {
    const value = (name: string, type: 'float32' | 'int64', ...dims: Array<number | null>) => ({ name, type, dims })
    const x = value('x', 'float32', null, 3, null, null)
    for (const [given, fault] of [
      [{ inputs: [value('y', 'float32', null, 3, null, null)] }, 'its inputs are y, not just "x"'],
      [{ inputs: [x, value('mask', 'float32', null)] }, 'its inputs are x, mask, not just "x"'],
      [{ inputs: [value('x', 'int64', null, 3, null, null)] }, 'its input is int64, but pictures become float32'],
      [{ outputs: [value('scores', 'float32', null, 2)] }, 'it has no output "logits"'],
      [{ outputs: [value('logits', 'int64', null, 2)] }, 'its output is int64, but scores and pixels are made from float32'],
      [{ outputs: [value('logits', 'float32', null, 3)] }, 'it has 3 classes, but there are 2 labels']
    ] as Array<[Partial<Artefact>, string]>) {
      const { needs, pool, store, model } = await setUp(MANIFEST, given)
      await assert.rejects(bringToWorkers(needs, model.entry), hasCode('MANIFEST_INVALID', { faults: [fault] }))
      assert.deepEqual([pool.loaded, store.domains('signs')], [[], []])
    }
    const { needs, model } = await setUp(MANIFEST, { outputs: [value('logits', 'float32', null, null)] })
    await bringToWorkers(needs, model.entry)
  })
})

describe('restoring an artefact', () => {
  const restore = async (given: { key?: string, layout?: Artefact['layout'] } = {}) => {
    const model: ReadyModel = { ...readyModel(MANIFEST), served: { ...readyModel(MANIFEST).served, id: 'key-1' } }
    const artefact = { ...model.artefact, layout: given.layout ?? model.artefact.layout }
    const obtain: Obtain = async () => ({ artefact, key: given.key ?? 'key-1' })
    await restoreArtefact({ obtain, logger: silentLogger().logger }, model)
  }

  it('is fine when the files give the same again', async () => {
    await restore()
  })

  it('is refused when they give another: threads would not run the same', async () => {
    await assert.rejects(restore({ key: 'key-2' }), hasCode('MODEL_FAILED'))
    await assert.rejects(restore({ layout: { layers: LAYERS, ports: [], length: 0 } }), hasCode('MODEL_FAILED'))
  })
})

describe('the proof of a tiling', () => {
  /** Doubles, after every pixel became the mean of those at most `radius` to its left and right, as far as there are any. */
  const seeing = (radius: number): Network => (job) => {
    const { dims, data } = job.feeds.x!
    const width = dims[3]!
    const values = data as Float32Array
    const blurred = values.map((_, at) => {
      const x = at % width
      let [sum, count] = [0, 0]
      for (let other = Math.max(0, x - radius); other <= Math.min(width - 1, x + radius); other++) {
        sum += values[at - x + other]!
        count++
      }
      return sum / count
    })
    return compute({ ...job, feeds: { x: { type: 'float32', dims: [...dims], data: blurred } } })
  }

  const prove = async (radius: number, overlap: number) => {
    const manifest = { ...DOUBLER, tiling: { ...DOUBLER.tiling, overlap } }
    const pool = new FakePool(seeing(radius))
    await proveTiling(pool, readyModel(manifest))
    return pool
  }

  it('holds where no output pixel sees farther than the overlap', async () => {
    for (const [radius, overlap] of [[0, 1], [2, 2], [5, 5], [3, 5]] as const) {
      const { jobs } = await prove(radius, overlap)
      assert.ok(jobs.length > 2, 'one whole and several tiles')
    }
  })

  it('fails by one pixel', async () => {
    for (const [radius, overlap] of [[3, 2], [6, 5], [1, 0]] as const) {
      await assert.rejects(prove(radius, overlap), hasCode('MANIFEST_INVALID'), `${radius} in ${overlap}`)
    }
  })

  it('is not asked of other tasks', async () => {
    const pool = new FakePool(compute)
    await proveTiling(pool, readyModel(MANIFEST))
    assert.deepEqual(pool.jobs, [])
  })
})
