import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import sharp from 'sharp'
import { floatValues, parseSafetensors, serializeSafetensors } from '#src/bank/formats/safetensors.js'
import { painted } from '../imaging/fixtures/pictures.js'
import { tarOf, zipOf, type Entry } from '../support/archives.js'
import { ROOT } from '../support/folders.js'
import { formOf, type FormFile } from '../support/form.js'
import { seededNormal } from '../support/random.js'
import { ADMIN, startService, type Service } from '../support/service.js'
import { binaryRequest } from '../support/wire.js'

const MODEL = '/admin/models/traffic-signs'
type Job = Record<string, any>

describe('calibrations over HTTP', () => {
  let service: Service
  let pictures: Entry[]

  before(async () => {
    service = await startService()
    const normal = seededNormal(1)
    pictures = await Promise.all(Array.from({ length: 24 }, async (_, at) => {
      const [brightness, contrast] = [40 + 5 * at, 10 + at]
      const paint = () => Math.max(0, Math.min(255, Math.round(brightness + contrast * normal())))
      return { name: `frame-${at}.png`, bytes: await painted(40, 30, 3, paint).png().toBuffer() }
    }))
  })
  after(() => service.close())

  const images = (entries: readonly Entry[]): FormFile[] => entries.map(({ name, bytes }) => ({ field: 'images', name, bytes }))
  const post = (domain: string, files: readonly FormFile[], fields: Record<string, string> = {}) => {
    const { payload, headers } = formOf(fields, files)
    return service.app.inject({ method: 'POST', url: `${MODEL}/domains/${domain}/calibrations`, payload, headers: { ...ADMIN, ...headers } })
  }
  const job = async (id: string): Promise<Job> => (await service.app.inject({ url: `/admin/jobs/${id}`, headers: ADMIN })).json()
  const ended = async (id: string): Promise<Job> => {
    await service.engine.calibrations.ended(id)
    return await job(id)
  }
  /** Posts, waits for the end, and demands that the job succeeded. */
  const calibrated = async (domain: string, files: readonly FormFile[], fields: Record<string, string> = {}): Promise<Job> => {
    const response = await post(domain, files, fields)
    assert.equal(response.statusCode, 202, response.payload)
    const record = await ended(response.json().id)
    assert.equal(record.state, 'succeeded', JSON.stringify(record))
    // The schema of the answer cuts nothing off.
    const { result } = await service.engine.calibrations.job(record.id)
    assert.deepEqual(record.result, JSON.parse(JSON.stringify(result)))
    return record.result
  }
  const failed = async (domain: string, files: readonly FormFile[], fields: Record<string, string> = {}): Promise<Job> => {
    const response = await post(domain, files, fields)
    const record = response.statusCode === 202 ? await ended(response.json().id) : { state: 'failed', error: response.json() }
    assert.equal(record.state, 'failed', JSON.stringify(record))
    assert.equal((await service.app.inject(`/v1/models/traffic-signs/domains/${domain}`)).statusCode, 404, 'nothing is registered')
    return record.error
  }
  const download = async (domain: string, version = 1): Promise<Buffer> => {
    return (await service.app.inject({ url: `${MODEL}/domains/${domain}/versions/${version}`, headers: ADMIN })).rawPayload
  }
  const statistic = async (domain: string, name: string, version = 1) => {
    return Array.from(floatValues(name, parseSafetensors(await download(domain, version)).tensors.get(name)!))
  }

  it('makes a domain of pictures: 202, a job, a version that serves at once', async () => {
    const response = await post('camera-7', images(pictures))
    assert.equal(response.statusCode, 202)
    const { id, state, ...more } = response.json()
    assert.deepEqual(more, {})
    assert.ok(['queued', 'running'].includes(state))
    assert.equal(response.headers.location, `/admin/jobs/${id}`)
    const record = await ended(id)
    assert.equal(record.state, 'succeeded', JSON.stringify(record))
    assert.equal(record.progress, 1)
    const { result } = record
    assert.deepEqual([result.model, result.domain, result.version, result.active], ['traffic-signs', 'camera-7', 1, true])
    assert.deepEqual([result.images.given, result.images.used, result.images.broken], [24, 24, 0])
    assert.equal(result.report.layers.length, 15)
    assert.equal(typeof result.report.verdict.text, 'string')
    const { payload, headers } = binaryRequest({ shape: [1, 3, 32, 32], values: new Float32Array(3072) })
    const inference = await service.app.inject({
      method: 'POST', url: '/v2/models/traffic-signs/infer', payload, headers: { ...headers, 'x-domain': 'camera-7' }
    })
    assert.equal(inference.statusCode, 200)
    const domain = (await service.app.inject('/v1/models/traffic-signs/domains/camera-7')).json()
    assert.equal(domain.versions[0].source, 'calibration')
  })

  it('takes archives and single pictures alike, in any order', async () => {
    const [a, b, c] = [pictures.slice(0, 8), pictures.slice(8, 16), pictures.slice(16)]
    const mixed = [
      { field: 'images', name: 'b.tar', bytes: await tarOf(b) }, ...images(c), { field: 'images', name: 'a.zip', bytes: zipOf(a) }
    ]
    await calibrated('mixed', mixed)
    await calibrated('plain', images(pictures))
    for (const name of ['bn1.running_mean', 'layer3.1.bn2.running_var']) {
      const [x, y] = [await statistic('mixed', name), await statistic('plain', name)]
      x.forEach((value, at) => assert.ok(Math.abs(value - y[at]!) <= 1e-5 * Math.max(1, Math.abs(y[at]!)), `${name} ${value} ${y[at]}`))
    }
  })

  it('takes tensors, and comes to what PyTorch computes for the first layer', async () => {
    const { tensors } = parseSafetensors(await readFile(join(ROOT, 'test/golden/traffic-signs.safetensors')))
    const input = tensors.get('fog.inputs')!
    const file = serializeSafetensors([{ name: 'input', dtype: 'F32', shape: input.shape, bytes: new Uint8Array(input.bytes) }], new Map())
    await calibrated('from-tensors', [{ field: 'tensors', name: 'set.safetensors', bytes: file }], { minimumImages: '8' })
    const expected = floatValues('', tensors.get('fog.layers.bn1.mean')!)
    const actual = await statistic('from-tensors', 'bn1.running_mean')
    expected.forEach((mean, at) => assert.ok(Math.abs(actual[at]! - mean) <= 1e-5, `${actual[at]} ${mean}`))
  })

  it('names a broken image, counts it and goes on; with `strict` it stops', async () => {
    const broken: Entry = { name: 'torn.png', bytes: pictures[3]!.bytes.slice(0, 60) }
    const set = images([...pictures.slice(0, 12), broken, ...pictures.slice(12)])
    const { images: counts, report } = await calibrated('with-broken', set)
    assert.deepEqual([counts.given, counts.used, counts.broken], [25, 24, 1])
    assert.deepEqual([counts.brokenImages[0].name, counts.brokenImages[0].code], ['torn.png', 'IMAGE_UNREADABLE'])
    assert.ok(report.warnings.some(({ code }: Job) => code === 'BROKEN_IMAGES'))
    const error = await failed('strict', set, { strict: 'true' })
    assert.equal(error.code, 'CALIBRATION_IMAGE_BROKEN')
    assert.match(error.message, /torn\.png/)
  })

  it('leaves copies out', async () => {
    const { images: counts } = await calibrated('copies', images([...pictures, ...pictures.slice(0, 5)]))
    assert.deepEqual([counts.given, counts.used, counts.duplicates], [29, 24, 5])
  })

  describe('refuses, and registers nothing', () => {
    const cases: Array<[string, string, () => Promise<{ files: FormFile[], fields?: Record<string, string> }>]> = [
      ['no images', 'CALIBRATION_TOO_FEW_IMAGES', async () => ({ files: [] })],
      ['too few', 'CALIBRATION_TOO_FEW_IMAGES', async () => ({ files: images(pictures.slice(0, 7)) })],
      ['an empty archive', 'CALIBRATION_TOO_FEW_IMAGES', async () => ({ files: images([{ name: 'a.zip', bytes: zipOf([]) }]) })],
      ['copies of one image', 'CALIBRATION_IMAGES_IDENTICAL', async () => ({ files: images(Array(30).fill(pictures[0])) })],
      ['a name that leaves its folder', 'ARCHIVE_NAME_REFUSED', async () => {
        return { files: images([{ name: 'a.zip', bytes: zipOf([{ ...pictures[0]!, name: '../../up.png' }]) }]) }
      }],
      ['a zip bomb', 'ARCHIVE_TOO_LARGE', async () => {
        return { files: images([{ name: 'a.zip', bytes: zipOf([{ name: 'a.png', bytes: Buffer.alloc(40_000_000) }]) }]) }
      }],
      ['an unknown option', 'CALIBRATION_OPTIONS_INVALID', async () => ({ files: images(pictures), fields: { mood: 'good' } })],
      ['a wrong mode', 'CALIBRATION_OPTIONS_INVALID', async () => ({ files: images(pictures), fields: { mode: 'best' } })],
      ['an unknown layer', 'CALIBRATION_LAYER_UNKNOWN', async () => ({ files: images(pictures), fields: { layers: 'bn1,head' } })],
      ['an unknown base', 'DOMAIN_NOT_FOUND', async () => ({ files: images(pictures), fields: { base: 'nowhere' } })],
      ['a file in another field', 'REQUEST_INVALID', async () => ({ files: [{ field: 'image', ...pictures[0]! }] })],
      ['tensors of another shape', 'CALIBRATION_TENSORS_INVALID', async () => ({
        files: [{
          field: 'tensors',
          name: 't',
          bytes: serializeSafetensors([{ name: 'input', dtype: 'F32', shape: [2, 4, 8, 8], bytes: new Uint8Array(2 * 256 * 4) }], new Map())
        }]
      })]
    ]
    for (const [what, code, make] of cases) {
      it(what, async () => {
        const { files, fields } = await make()
        assert.equal((await failed('refused', files, fields)).code, code)
      })
    }

    it('pictures beyond the limit of pixels, told apart from others', async () => {
      const large = await sharp({ create: { width: 10_000, height: 10_000, channels: 3, background: '#777' } }).png().toBuffer()
      const { images: counts } = await calibrated('large', images([...pictures, { name: 'large.png', bytes: large }]))
      assert.deepEqual(counts.brokenImages.map(({ code }: Job) => code), ['IMAGE_TOO_LARGE'])
    })

    it('without the key, without a form, of a model that is not there, and of a job that is not there', async () => {
      const { payload, headers } = formOf({}, images(pictures))
      const url = `${MODEL}/domains/x/calibrations`
      assert.equal((await service.app.inject({ method: 'POST', url, payload, headers })).statusCode, 401)
      assert.equal((await service.app.inject({ method: 'POST', url, payload: '{}', headers: { ...ADMIN, 'content-type': 'application/json' } })).statusCode, 415)
      const other = await service.app.inject({
        method: 'POST', url: '/admin/models/none/domains/x/calibrations', payload, headers: { ...ADMIN, ...headers }
      })
      assert.equal(other.statusCode, 404)
      assert.equal((await service.app.inject({ url: `/admin/jobs/${'0'.repeat(36)}`, headers: ADMIN })).json().code, 'JOB_NOT_FOUND')
      for (const method of ['GET', 'DELETE'] as const) {
        assert.equal((await service.app.inject({ method, url: `/admin/jobs/${'0'.repeat(36)}` })).statusCode, 401)
      }
    })
  })

  it('is cancelled in the middle of its forward runs, and the server lives on', async () => {
    const normal = seededNormal(9)
    const values = Float32Array.from({ length: 256 * 3072 }, normal)
    const file = serializeSafetensors(
      [{ name: 'input', dtype: 'F32', shape: [256, 3, 32, 32], bytes: new Uint8Array(values.buffer) }], new Map()
    )
    const { id } = (await post('interrupted', [{ field: 'tensors', name: 't', bytes: file }])).json()
    // Past the share that reading the images has: a native call is under way.
    while ((await service.engine.calibrations.job(id)).progress <= 0.3) await new Promise(setImmediate)
    const response = await service.app.inject({ method: 'DELETE', url: `/admin/jobs/${id}`, headers: ADMIN })
    assert.equal(response.json().state, 'cancelled')
    assert.equal((await service.app.inject('/v1/models/traffic-signs/domains/interrupted')).statusCode, 404)
    await calibrated('afterwards', images(pictures))
  })

  it('is cancelled while it runs or waits, and registers nothing', async () => {
    const responses = await Promise.all([post('one', images(pictures)), post('two', images(pictures)), post('three', images(pictures))])
    const ids = responses.map((response) => response.json().id as string)
    for (const id of ids) {
      const response = await service.app.inject({ method: 'DELETE', url: `/admin/jobs/${id}`, headers: ADMIN })
      assert.equal(response.json().state, 'cancelled')
      assert.equal(response.json().error.code, 'JOB_CANCELLED')
    }
    for (const domain of ['one', 'two', 'three']) {
      assert.deepEqual(await readdir(join(service.storeDir, 'traffic-signs', domain)).catch(() => []), [])
    }
    const listed = (await service.app.inject({ url: '/admin/jobs', headers: ADMIN })).json().jobs
    assert.ok(ids.every((id) => listed.some((record: Job) => record.id === id && record.state === 'cancelled')))
  })

  describe('contributions', () => {
    const contribute = (domain: string, payload: Buffer, query = '') => service.app.inject({
      method: 'POST',
      url: `${MODEL}/domains/${domain}/contributions${query}`,
      payload,
      headers: { ...ADMIN, 'content-type': 'application/octet-stream' }
    })

    for (const mode of ['fixed', 'fvcore']) {
      it(`${mode}: merging two is calibrating on all, subtracting one gives the other back`, async () => {
        // fvcore's forward sees whole batches: the parts are made of the same batches as the whole.
        const fields = { mode, batchSize: '8' }
        await calibrated(`${mode}-a`, images(pictures.slice(0, 16)), fields)
        await calibrated(`${mode}-b`, images(pictures.slice(16)), fields)
        await calibrated(`${mode}-all`, images(pictures), fields)
        const [a, b] = [await download(`${mode}-a`), await download(`${mode}-b`)]
        const first = await contribute(`${mode}-sum`, a)
        assert.equal(first.statusCode, 201, first.payload)
        const second = await contribute(`${mode}-sum`, b)
        assert.deepEqual([second.json().version, second.json().images], [2, 24])
        const third = await contribute(`${mode}-sum`, b, '?operation=subtract')
        assert.deepEqual([third.json().version, third.json().images], [3, 16])
        for (const name of ['bn1.running_mean', 'bn1.running_var', 'layer3.1.bn2.running_mean', 'layer3.1.bn2.running_var']) {
          const pairs = [
            [await statistic(`${mode}-sum`, name, 2), await statistic(`${mode}-all`, name)],
            [await statistic(`${mode}-sum`, name, 3), await statistic(`${mode}-a`, name)]
          ] as const
          for (const [actual, expected] of pairs) {
            expected.forEach((value, at) => assert.ok(Math.abs(actual[at]! - value) <= 1e-6 * Math.max(1, Math.abs(value)), `${name} ${at}`))
          }
        }
      })
    }

    it('refuses what has no sums, other forwards, too few images, and more than there was', async () => {
      await calibrated('small', images(pictures.slice(0, 10)), { mode: 'fixed' })
      await calibrated('other', images(pictures.slice(10)), { mode: 'fixed', base: 'fog' })
      await calibrated('sequential', images(pictures))
      assert.equal((await contribute('small', await download('sequential'))).json().code, 'CONTRIBUTION_MISSING')
      assert.equal((await contribute('small', await download('day'))).json().code, 'CONTRIBUTION_MISSING')
      assert.equal((await contribute('small', await download('other'))).json().code, 'CONTRIBUTION_MISMATCH')
      const small = await download('small')
      assert.equal((await contribute('nobody', small, '?minimumImages=11')).json().code, 'CALIBRATION_TOO_FEW_IMAGES')
      assert.equal((await contribute('small', small, '?operation=subtract')).json().code, 'CALIBRATION_TOO_FEW_IMAGES')
      assert.equal((await contribute('nobody', small, '?operation=subtract')).statusCode, 404)
      assert.equal((await service.app.inject('/v1/models/traffic-signs/domains/nobody')).statusCode, 404)
    })
  })
})
