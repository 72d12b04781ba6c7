/** The TypeScript client against a server on a port: what it is for, and each way to use it wrongly. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import sharp from 'sharp'
import { BankswitchError, Client, type CalibrationResult, type Job } from '@bankswitch/client'
import { parseSafetensors, serializeSafetensors } from '#src/bank/formats/safetensors.js'
import { painted } from '../imaging/fixtures/pictures.js'
import { zipOf } from '../support/archives.js'
import { bareApp } from '../support/bare-app.js'
import { readDocument } from '../support/documents.js'
import { ROOT, SIGNS } from '../support/folders.js'
import { DOUBLER, writeModels } from '../support/models-folder.js'
import { superResolver } from '../support/networks.js'
import { seededNormal } from '../support/random.js'
import { ADMIN_KEY, startService, type Service } from '../support/service.js'
import { shippedBank, variantOf } from '../support/signs.js'
import { binaryRequest, firstOutput, parseAnswer } from '../support/wire.js'
import type { CalibrationResult as ServedResult } from '#src/serving/calibrating/calibrations.js'

const SHAPE = [1, 3, 32, 32]
const pixels = Float32Array.from({ length: 3072 }, (_, at) => Math.cos(at))
const input = { data: pixels, shape: SHAPE }

/** For the compiler: what the client tells of a result is what the server gives. */
export const told = (result: ServedResult & { version: number }): CalibrationResult => result

describe('the TypeScript client', () => {
  let service: Service
  let folder: string
  let address: string
  let client: Client
  let bank: Uint8Array
  let pictures: Uint8Array[]
  const sample = async (name: string) => await readFile(join(ROOT, 'models', SIGNS, 'samples', `${name}.png`))

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bankswitch-models-'))
    await writeModels(folder, [{ manifest: DOUBLER, graph: superResolver().bytes }])
    await symlink(join(ROOT, 'models', SIGNS), join(folder, SIGNS))
    service = await startService({
      BANKSWITCH_MODELS_DIR: folder, BANKSWITCH_DRIFT_ERT: '1000000', BANKSWITCH_DRIFT_COLLECT: 'true'
    })
    address = await service.app.listen({ host: '127.0.0.1', port: 0 })
    // No test here waits for a wish of the server: those that it would refuse do not ask again.
    client = new Client(address, { key: ADMIN_KEY, retries: 0 })
    bank = await shippedBank('fog')
    const normal = seededNormal(1)
    pictures = await Promise.all(Array.from({ length: 12 }, async (_, at) => {
      const paint = () => Math.max(0, Math.min(255, Math.round(40 + 5 * at + (10 + at) * normal())))
      return await painted(40, 30, 3, paint).png().toBuffer()
    }))
  })
  after(async () => {
    await service.close()
    await rm(folder, { recursive: true })
  })

  /** Expects an error with this code and status, as the server tells it, and gives it back. */
  const failing = async (call: Promise<unknown>, code: string, status: number | undefined): Promise<BankswitchError> => {
    const error = await call.then(() => assert.fail('it did not fail'), (error: unknown) => error)
    assert.ok(error instanceof BankswitchError, String(error))
    assert.deepEqual([error.code, error.status], [code, status], error.message)
    return error
  }

  /** A domain of the doubler with a signature of noise around a grey from 0 to 1. */
  const calibrateNoisy = async (domain: string, grey: number) => {
    const normal = seededNormal(3)
    const bytes = new Uint8Array(Float32Array.from({ length: 36 * 3 * 144 }, () => grey + 0.1 * normal()).buffer)
    const tensors = serializeSafetensors([{ name: 'x', dtype: 'F32', shape: [36, 3, 12, 12], bytes }], new Map())
    await client.calibrate('doubler', domain, { tensors }, { pollMs: 20 })
  }

  describe('asks', () => {
    it('for tensors under a domain, a version and the default', async () => {
      const { payload, headers } = binaryRequest({ shape: SHAPE, values: pixels })
      for (const [wish, domain] of [[{}, 'day'], [{ domain: 'fog' }, 'fog'], [{ domain: 'fog', version: 1 }, 'fog'], [{ domain: 'fog', version: 'active' }, 'fog']] as const) {
        const answer = await client.infer(SIGNS, { input }, { ...wish, timeoutMs: 60_000 })
        const expected = firstOutput(parseAnswer(await service.app.inject({
          method: 'POST', url: `/v2/models/${SIGNS}/infer`, payload, headers: { ...headers, 'x-domain': domain }
        })))
        assert.deepEqual(answer.values('logits'), expected)
        const [{ digest, ...by }] = answer.answeredBy
        assert.deepEqual(by, { domain, version: 1 })
        assert.equal(digest, (await client.domain(SIGNS, domain)).versions[0]!.digest)
      }
    })

    it('for rows of several domains, each like the one alone', async () => {
      const twice = { data: Float32Array.from([...pixels, ...pixels]), shape: [2, 3, 32, 32] }
      const answer = await client.infer(SIGNS, { input: twice, __domain__: { data: ['fog', 'day'], shape: [2] } })
      assert.deepEqual(answer.answeredBy.map(({ domain }) => domain), ['fog', 'day'])
      const logits = answer.values('logits')
      for (const [at, domain] of ['fog', 'day'].entries()) {
        const alone = (await client.infer(SIGNS, { input }, { domain })).values('logits')
        assert.deepEqual(logits.subarray(43 * at, 43 * (at + 1)), alone)
      }
    })

    it('for labels of a picture, as bytes or as a Blob', async () => {
      const bytes = await sample('lowlight-speed-limit-100')
      for (const picture of [bytes, new Blob([bytes])]) {
        const { model, domain, version, predictions } = await client.predict(SIGNS, picture, { domain: 'lowlight', top: 2 })
        assert.deepEqual([model, domain, version, predictions.length], [SIGNS, 'lowlight', 1, 2])
        assert.equal(predictions[0]!.label, 'speed limit 100')
      }
    })

    it('for a picture of a picture, in each type', async () => {
      const picture = await painted(13, 9, 3, (x, y) => 9 * x + 3 * y).png().toBuffer()
      for (const format of ['png', 'jpeg', 'webp'] as const) {
        const given = await sharp(picture).toFormat(format).toBuffer()
        const quality = format === 'png' ? {} : { quality: 50 }
        const { bytes, type, domain, version } = await client.predict('doubler', given, { accept: `image/${format}`, ...quality, progressKey: 'p' })
        assert.deepEqual([type, domain, version], [`image/${format}`, 'plain', 1])
        const { width, height, format: answered } = await sharp(bytes).metadata()
        assert.deepEqual([width, height, answered], [26, 18, format])
      }
    })

    it('for what several banks say of a picture', async () => {
      const bytes = await sample('lowlight-speed-limit-100')
      const { banks, agreement } = await client.compare(SIGNS, bytes, { domains: ['lowlight', 'day:1', 'day=0.5,fog=0.5'], top: 2, timeoutMs: 60_000 })
      assert.deepEqual(banks.map(({ domain, predictions }) => [domain, predictions!.length]), [['lowlight', 2], ['day', 2], ['day:1=0.5;fog:1=0.5', 2]])
      assert.ok(agreement!.share > 0 && banks[0]!.entropy! > 0)
      assert.deepEqual(banks.map(({ fit, p }) => [fit, p !== undefined && p > 0]), [['good', true], ['none', true], [undefined, false]])
      assert.deepEqual((await client.compare(SIGNS, bytes, { domains: [banks[2]!.domain], top: 2 })).banks, banks.slice(2))
      assert.deepEqual((await client.compare(SIGNS, bytes, { domains: [] })).banks.map(({ domain }) => domain).sort(), ['day', 'fog', 'lowlight', 'lowres'])
      const picture = await painted(13, 9, 3, (x, y) => 9 * x + 3 * y).png().toBuffer()
      const { differences } = await client.compare('doubler', picture)
      assert.deepEqual(differences, [])
      const sheet = await client.compare('doubler', picture, { accept: 'image/png', domains: ['plain'] })
      assert.deepEqual([sheet.type, sheet.banks], ['image/png', [{ domain: 'plain', version: 1 }]])
      assert.equal((await sharp(sheet.bytes).metadata()).width, 26)
    })

    it('under the domain that it looks like, and how it was chosen', async () => {
      const fog = await sample('fog-slippery-road')
      const seen = (await client.predict(SIGNS, fog, { domain: 'auto', top: 1 })).recognised!
      assert.deepEqual([seen.fit, seen.nearest, typeof seen.runnerUp], ['good', 'fog', 'string'])
      const odd = { data: Float32Array.from({ length: 2 * 3072 }, (_, at) => at % 3072 / 1e3), shape: [2, 3, 32, 32] }
      const { recognised: [named, chosen] } = await client.infer(SIGNS, { input: odd, __domain__: { data: ['fog', 'auto'], shape: [2] } })
      const { domain, fit, nearest, runnerUp, margin, p } = chosen!
      assert.deepEqual([named, domain, fit, typeof nearest, typeof runnerUp], [undefined, 'day', 'none', 'string', 'string'])
      assert.ok(margin! > 0 && p! > 0 && p! < 0.005)
      const one = { data: odd.data.subarray(3072), shape: SHAPE }
      assert.deepEqual((await client.infer(SIGNS, { input: one }, { domain: 'auto' })).recognised, [chosen])
      assert.deepEqual((await client.infer(SIGNS, { input }, { domain: 'fog' })).recognised, [])
    })

    it('for a picture under the domain that it looks like, and how it was chosen', async () => {
      await calibrateNoisy('x-dark', 0.2)
      await calibrateNoisy('x-bright', 0.8)
      const bright = await painted(12, 12, 3, () => 204).png().toBuffer()
      const { domain, recognised } = await client.predict('doubler', bright, { accept: 'image/png', domain: 'auto' })
      const { nearest, fit, runnerUp, margin, p } = recognised!
      assert.deepEqual([domain, nearest, fit, runnerUp], ['x-bright', 'x-bright', 'good', 'x-dark'])
      assert.ok(margin! > 0 && p! > 0 && p! <= 1)
      assert.ok(!('recognised' in await client.predict('doubler', bright, { accept: 'image/png', domain: 'plain' })))
      await client.deleteDomain('doubler', 'x-bright')
      const alone = (await client.predict('doubler', bright, { accept: 'image/png', domain: 'auto' })).recognised!
      assert.deepEqual([alone.nearest, 'runnerUp' in alone, 'margin' in alone], ['x-dark', false, false])
      await client.deleteDomain('doubler', 'x-dark')
    })

    it('under a blend of domains', async () => {
      const input = { data: new Float32Array(3072), shape: [1, 3, 32, 32] }
      const { answeredBy: [answered] } = await client.infer(SIGNS, { input }, { domain: 'day=0.7,lowlight=0.3' })
      assert.deepEqual([answered.domain, answered.version], ['day:1=0.7;lowlight:1=0.3', 1])
      const again = await client.infer(SIGNS, { input }, { domain: answered.domain })
      assert.equal(again.answeredBy[0].digest, answered.digest)
    })

    it('what there is', async () => {
      assert.deepEqual((await client.models()).map(({ name, state }) => [name, state]), [['doubler', 'ready'], [SIGNS, 'ready']])
      const { compiled, labels } = await client.model(SIGNS)
      assert.deepEqual([compiled!.layers.length, labels], [15, 43])
      assert.deepEqual((await client.domains(SIGNS)).map(({ domain }) => domain).filter((name) => !name.startsWith('x-')), ['day', 'fog', 'lowlight', 'lowres'])
    })

    it('whether pictures are still those of a domain, and what became of those that fit none', async () => {
      const { state, domain, requestsPerFalseAlarm } = await client.drift(SIGNS, 'lowres')
      assert.deepEqual([state, domain, requestsPerFalseAlarm], ['notEnoughSeen', 'lowres', 1_000_000])
      assert.deepEqual(await client.candidates(SIGNS), [])
      await failing(client.drift(SIGNS, 'none'), 'DOMAIN_NOT_FOUND', 404)
      await failing(client.candidates('none'), 'MODEL_NOT_FOUND', 404)
    })

    it('any route', async () => {
      assert.deepEqual(await client.request('GET /readyz', {}), { ready: true })
      assert.match(String(await client.request('GET /metrics', {})), /^# HELP /)
      assert.deepEqual((await client.request('GET /v2/models', {})).models, ['doubler', SIGNS])
    })

    it('under an id of its own, which an error repeats', async () => {
      const error = await failing(client.model('none', { requestId: 'mine-7' }), 'MODEL_NOT_FOUND', 404)
      assert.equal(error.requestId, 'mine-7')
    })
  })

  describe('changes', () => {
    it('a domain: registered, stored, activated, rolled back, downloaded, removed', async () => {
      const domain = 'x-life'
      const { digest, ...first } = await client.register(SIGNS, domain, bank, { ifNew: true })
      assert.deepEqual(first, { model: SIGNS, domain, version: 1, active: true })
      assert.equal(digest, (await client.domain(SIGNS, 'fog')).versions[0]!.digest)
      const stored = await client.register(SIGNS, domain, new Blob([variantOf(bank, 0.25)]), { activate: false })
      assert.deepEqual([stored.version, stored.active], [2, false])
      const before = await client.domain(SIGNS, domain)
      assert.deepEqual([before.active, before.versions.length], [1, 2])
      const { active, revision } = await client.activate(SIGNS, domain, 2, { ifRevision: before.revision })
      assert.equal(active, 2)
      assert.equal((await client.infer(SIGNS, { input }, { domain })).answeredBy[0].version, 2)
      await failing(client.activate(SIGNS, domain, 1, { ifRevision: before.revision }), 'PRECONDITION_FAILED', 412)
      assert.equal((await client.rollback(SIGNS, domain, { ifRevision: revision })).active, 1)
      const mean = (file: Uint8Array) => Buffer.from(parseSafetensors(file).tensors.get('bn1.running_mean')!.bytes)
      assert.deepEqual(mean(await client.download(SIGNS, domain, 2)), mean(variantOf(bank, 0.25)))
      assert.deepEqual((await client.deleteVersion(SIGNS, domain, 2)).versions.map(({ version }) => version), [1])
      await client.deleteDomain(SIGNS, domain)
      await failing(client.domain(SIGNS, domain), 'DOMAIN_NOT_FOUND', 404)
    })

    it('a domain by values, with preprocessing of its own', async () => {
      const { compiled } = await client.model(SIGNS)
      const layers = Object.fromEntries(compiled!.layers.map(({ key, channels }) => [key, {
        mean: new Float32Array(channels), variance: Array<number>(channels).fill(1), gamma: new Float64Array(channels).fill(0.5)
      }]))
      const domain = 'x-values'
      await client.register(SIGNS, domain, { description: 'made up', layers }, { preprocessing: { mean: [0.4, 0.4, 0.4] } })
      const { description, versions } = await client.domain(SIGNS, domain)
      assert.deepEqual([description, versions[0]!.source, versions[0]!.preprocessing], ['made up', 'json', { mean: [0.4, 0.4, 0.4] }])
      await client.deleteDomain(SIGNS, domain)
    })

    it('a domain by a blend of others', async () => {
      const domain = 'x-dusk'
      const options = { activate: false, description: 'between', ifNew: true }
      const { blend, version, active } = await client.registerBlend(SIGNS, domain, 'day=0.7,lowlight=0.3', options)
      assert.deepEqual([blend, version, active], ['day:1=0.7;lowlight:1=0.3', 1, false])
      const { description } = await client.domain(SIGNS, domain)
      assert.match(description!, /between/)
      await failing(client.registerBlend(SIGNS, domain, 'day=0.7,lowlight=0.3', options), 'PRECONDITION_FAILED', 412)
      await failing(client.registerBlend(SIGNS, domain, 'day'), 'DOMAIN_REFERENCE_INVALID', 400)
      await client.deleteDomain(SIGNS, domain)
    })

    it('what has no method of its own', async () => {
      const domain = 'x-marks'
      const path = { model: SIGNS, domain }
      await client.register(SIGNS, domain, bank)
      const labelled = await client.request('PUT /admin/models/{model}/domains/{domain}/labels/{label}', { path: { ...path, label: 'tried' }, body: { version: 1 } })
      assert.deepEqual(labelled.labels, { tried: 1 })
      assert.equal((await client.infer(SIGNS, { input }, { domain, version: 'tried' })).answeredBy[0].version, 1)
      await client.deleteDomain(SIGNS, domain)
    })
  })

  describe('calibrates', () => {
    it('from pictures and archives, telling how far it is', async () => {
      const seen: Job[] = []
      const waits: number[] = []
      const watching = new Client(address, {
        key: ADMIN_KEY,
        async wait (ms) {
          waits.push(ms)
          await service.engine.calibrations.ended(seen[0]!.id)
        }
      })
      const zip = new File([new Uint8Array(zipOf(pictures.slice(6).map((bytes, at) => ({ name: `${at}.png`, bytes }))))], 'more.zip')
      const torn = new File([pictures[0]!.slice(0, 60) as Uint8Array<ArrayBuffer>], 'torn.png')
      const result = await watching.calibrate(SIGNS, 'x-camera', [...pictures.slice(0, 6), zip, torn], {
        mode: 'fixed', priorImages: 4, layers: ['bn1', 'layer1.*'], description: 'a camera', pollMs: 7, onProgress: (job) => seen.push(job)
      })
      assert.deepEqual([result.model, result.domain, result.version, result.active], [SIGNS, 'x-camera', 1, true])
      const { given, used, brokenImages } = result.images
      assert.deepEqual([given, used, brokenImages.map(({ name, code }) => [name, code])], [13, 12, [['torn.png', 'IMAGE_UNREADABLE']]])
      assert.deepEqual([result.report.mode, result.report.images, typeof result.report.verdict.text], ['fixed', 12, 'string'])
      assert.ok(result.report.layers.every(({ layer }) => /^(bn1|layer1\.)/.test(layer)))
      assert.deepEqual([seen.at(-1)!.state, seen.at(-1)!.progress], ['succeeded', 1])
      assert.ok(seen.length === waits.length + 1 && waits.every((ms) => ms === 7), String(waits))
      assert.equal((await client.domain(SIGNS, 'x-camera')).description, 'a camera')
      await client.deleteDomain(SIGNS, 'x-camera')
    })

    it('from tensors, watched or waited for in another program', async () => {
      const normal = seededNormal(9)
      const bytes = new Uint8Array(Float32Array.from({ length: 16 * 3072 }, normal).buffer)
      const tensors = serializeSafetensors([{ name: 'input', dtype: 'F32', shape: [16, 3, 32, 32], bytes }], new Map())
      const { id } = await client.startCalibration(SIGNS, 'x-tensors', { tensors }, { ifNew: true, activate: false })
      await service.engine.calibrations.ended(id)
      const states = []
      for await (const { state } of client.watch(id)) states.push(state)
      assert.deepEqual(states, ['succeeded'])
      assert.equal((await client.domain(SIGNS, 'x-tensors')).active, null)
      await client.deleteDomain(SIGNS, 'x-tensors')
    })

    it('until it is told to stop', async () => {
      const controller = new AbortController()
      const seen: Job[] = []
      const reason = new Error('enough')
      const call = client.calibrate(SIGNS, 'x-stopped', pictures, {
        signal: controller.signal,
        onProgress (job) {
          seen.push(job)
          controller.abort(reason)
        }
      })
      await assert.rejects(call, reason)
      const { state } = await client.cancel(seen[0]!.id)
      assert.equal(state, 'cancelled')
      await failing(client.domain(SIGNS, 'x-stopped'), 'DOMAIN_NOT_FOUND', 404)
    })
  })

  describe('tells what is wrong', () => {
    it('with the key', async () => {
      await failing(new Client(address).register(SIGNS, 'x', bank), 'AUTHENTICATION_REQUIRED', 401)
      const { details } = await failing(new Client(address, { key: 'wrong' }).register(SIGNS, 'x', bank), 'KEY_UNKNOWN', 401)
      assert.equal(details.expected, 'Authorization: Bearer <key>')
    })

    it('with model, domain or version', async () => {
      await failing(client.infer('none', { input }), 'MODEL_NOT_FOUND', 404)
      const { details, message } = await failing(client.infer(SIGNS, { input }, { domain: 'night' }), 'DOMAIN_NOT_FOUND', 404)
      assert.ok((details.expected as string[]).includes('fog'))
      assert.match(message, /has no domain "night"; it has day/)
      await failing(client.infer(SIGNS, { input }, { domain: 'fog', version: 99 }), 'VERSION_NOT_FOUND', 404)
      await failing(client.infer(SIGNS, { input }, { domain: 'fog', version: 'tried' }), 'LABEL_NOT_FOUND', 404)
      await failing(client.predict(SIGNS, pictures[0]!, { domain: 'a:b:c' }), 'DOMAIN_REFERENCE_INVALID', 400)
    })

    it('with tensors', async () => {
      await failing(client.infer(SIGNS, { input: { data: pixels, shape: [2, 3, 32, 32] } }), 'PROTOCOL_INVALID', 400)
      await failing(client.infer(SIGNS, { input: { data: pixels, shape: [3, 1, 32, 32] } }), 'INPUT_SHAPE_MISMATCH', 400)
      await failing(client.infer(SIGNS, { input: { data: Float64Array.from(pixels), shape: SHAPE } }), 'INPUT_DATATYPE_MISMATCH', 400)
      await failing(client.infer(SIGNS, { image: input }), 'INPUT_UNKNOWN', 400)
      await failing(client.infer(SIGNS, {}), 'PROTOCOL_INVALID', 400)
      await failing(client.infer(SIGNS, { input }, { outputs: ['scores'] }), 'OUTPUT_UNKNOWN', 400)
    })

    it('with pictures', async () => {
      await failing(client.predict(SIGNS, Buffer.from('GIF89a')), 'CONTENT_TYPE_UNSUPPORTED', 415)
      await failing(client.predict(SIGNS, pictures[0]!.slice(0, 60)), 'IMAGE_UNREADABLE', 400)
      const { details } = await failing(client.predict('doubler', pictures[0]!), 'NOT_ACCEPTABLE', 406)
      assert.deepEqual(details.expected, ['image/png', 'image/jpeg', 'image/webp'])
      await failing(client.predict(SIGNS, pictures[0]!, { accept: 'image/png' }), 'NOT_ACCEPTABLE', 406)
      await failing(client.predict(SIGNS, pictures[0]!, { top: 0 }), 'REQUEST_INVALID', 400)
      await failing(client.progress('nobody'), 'PROGRESS_NOT_FOUND', 404)
    })

    it('with banks', async () => {
      const { tensors, metadata } = parseSafetensors(await client.download(SIGNS, 'fog', 1))
      const own = [...tensors].filter(([name]) => !name.startsWith('bankswitch.'))
      const statistics = own.map(([name, { shape, bytes }]) => ({ name, dtype: 'F32' as const, shape, bytes: new Uint8Array(bytes) }))
      const facts = [...metadata].filter(([name]) => name !== 'bankswitch.signatures').map(([name, value]) => [name, name.endsWith('fingerprint') ? '0'.repeat(64) : value] as const)
      const foreign = serializeSafetensors(statistics, new Map(facts))
      const { details } = await failing(client.register(SIGNS, 'x', foreign), 'BANK_FINGERPRINT_MISMATCH', 400)
      assert.equal(details.received, '0'.repeat(64))
      await failing(client.register(SIGNS, 'x', { layers: { bn1: { mean: [1], variance: [1] } } }), 'BANK_LENGTH_MISMATCH', 400)
      await failing(client.register(SIGNS, 'fog', bank, { ifNew: true }), 'PRECONDITION_FAILED', 412)
      await failing(client.deleteVersion(SIGNS, 'fog', 1), 'VERSION_ACTIVE', 409)
      await failing(client.deleteDomain(SIGNS, 'day'), 'DOMAIN_IS_DEFAULT', 409)
    })

    it('with calibrations, at once or as the error of the job', async () => {
      await failing(client.calibrate(SIGNS, 'x', pictures, { minimumImages: 1 }), 'CALIBRATION_OPTIONS_INVALID', 400)
      await failing(client.calibrate(SIGNS, 'x', []), 'CALIBRATION_TOO_FEW_IMAGES', 400)
      const error = await failing(client.calibrate(SIGNS, 'x', Array(12).fill(pictures[0]), { pollMs: 1 }), 'CALIBRATION_IMAGES_IDENTICAL', undefined)
      assert.equal(error.name, 'BankswitchError')
      await failing(client.job('0'.repeat(36)), 'JOB_NOT_FOUND', 404)
    })
  })

  it('reads in a browser nothing but the headers that its page says are to be exposed', async () => {
    const [, told] = /expose\s([\s\S]*?)\.\s/.exec(readDocument('clients/typescript/README.md'))!
    const exposed = ['content-type', ...told!.matchAll(/`([\w-]+)`/g)].map((name) => (typeof name === 'string' ? name : name[1]!).toLowerCase())
    const inBrowser = new Client(address, {
      key: ADMIN_KEY,
      retries: 0,
      async fetch (url, init) {
        const { body, status, headers } = await fetch(url, init)
        return new Response(body, { status, headers: [...headers].filter(([name]) => exposed.includes(name)) })
      }
    })
    await calibrateNoisy('x-dark', 0.2)
    await calibrateNoisy('x-bright', 0.8)
    const picture = await sample('fog-slippery-road')
    for (const call of [
      (client: Client) => client.infer(SIGNS, { input }, { domain: 'auto' }),
      (client: Client) => client.predict(SIGNS, picture, { domain: 'auto' }),
      (client: Client) => client.predict('doubler', picture, { domain: 'auto', accept: 'image/png' }),
      (client: Client) => client.compare('doubler', picture, { accept: 'image/png' }),
      (client: Client) => client.model('none', { requestId: 'mine' }).catch(({ requestId }) => requestId)
    ]) assert.deepEqual(await call(inBrowser), await call(client))
    await client.deleteDomain('doubler', 'x-dark')
    await client.deleteDomain('doubler', 'x-bright')
  })

  it('does what the example of its page says', async () => {
    const [, example] = /^```ts\n([\s\S]*?)^```/m.exec(readDocument('clients/typescript/README.md'))!
    const lines = example!.trim().split('\n')
    const imported = lines.shift()
    assert.equal(imported, "import { Client } from '@bankswitch/client'")
    assert.ok(lines.length <= 6, 'the example is short')
    const written: unknown[] = []
    const AsyncFunction = (async () => {}).constructor as new (...text: string[]) => (...given: unknown[]) => Promise<void>
    const run = new AsyncFunction('Client', 'console', lines.join('\n').replace('http://127.0.0.1:8080', address))
    await run(Client, { log: (...given: unknown[]) => written.push(...given) })
    const [{ domain }, logits] = written as [{ domain: string }, Float32Array]
    assert.deepEqual([domain, logits.length], ['fog', 43])
  })
})

describe('a server that refuses', () => {
  it('is asked again when it says, until it is gone', async (t) => {
    const { app, close } = await bareApp({ BANKSWITCH_REQUESTS_PER_MINUTE: '2', BANKSWITCH_REFUSAL_HOLD_MS: '0' })
    t.after(close)
    const waits: number[] = []
    const wait = async (ms: number) => {
      waits.push(ms)
      if (waits.length === 2) await close()
    }
    const client = new Client(await app.listen({ host: '127.0.0.1', port: 0 }), { wait, retries: 2, retryWaitMsMax: 60_000 })
    assert.equal((await client.request('GET /v2', {})).name, 'bankswitch')
    await client.request('GET /v2', {})
    await assert.rejects(client.request('GET /v2', {}), { code: 'CONNECTION_FAILED', status: undefined })
    assert.ok(waits.length === 2 && waits.every((ms) => ms >= 1000 && ms <= 60_000 && ms % 1000 === 0), String(waits))
  })
})
