/** The runtime for KServe: its container's command line and environment, run here with its paths and port moved. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { mkdir, symlink } from 'node:fs/promises'
import { once } from 'node:events'
import { join } from 'node:path'
import { before, describe, it, type TestContext } from 'node:test'
import { parse } from 'yaml'
import { loadSettings } from '#src/config/load.js'
import { testCache } from '../support/cache.js'
import { readDocument } from '../support/documents.js'
import { shipSigns, temporaryFolder } from '../support/folders.js'
import { cleanEnvironment, MAIN } from '../support/process.js'
import { binaryRequest } from '../support/wire.js'
import { readImage } from './fixtures/image.js'
import { faultsOfManifests } from './fixtures/schemas.js'
import type { Manifest } from './fixtures/helm.js'

const image = readImage()
const manifestOf = (file: string) => parse(readDocument(`deploy/kserve/${file}`)) as Manifest

/** What the runtime's environment says beside the image's; a Secret that may be missing is. */
function environmentOf (container: any): Record<string, string> {
  const given = (container.env as Array<{ name: string, value?: string, valueFrom?: any }>).flatMap(({ name, value, valueFrom }) => {
    if (value !== undefined) return [[name, value] as const]
    assert.equal(valueFrom.secretKeyRef.optional, true, name)
    return []
  })
  return { ...image.environment, ...Object.fromEntries(given) }
}

describe('the runtime for KServe', () => {
  const runtime = manifestOf('runtime.yaml')
  const service = manifestOf('inference-service.yaml')
  let container: any
  before(() => {
    assert.deepEqual(runtime.spec.containers.map(({ name }: Manifest['metadata']) => name), ['kserve-container'])
    container = runtime.spec.containers[0]
  })

  it('and the InferenceService are what KServe and Kubernetes ask for', () => {
    const { containers, volumes } = runtime.spec
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'runtime', labels: {} }, spec: { containers, volumes } }
    assert.deepEqual(faultsOfManifests([runtime, service, pod]), [])
    assert.notDeepEqual(faultsOfManifests([{ ...runtime, spec: { ...runtime.spec, protocolVersion: 'v2' } }]), [])
  })

  it('fit each other, the image, and a model that there is', () => {
    const { model, terminationGracePeriodSeconds } = service.spec.predictor
    assert.equal(model.runtime, runtime.metadata.name)
    assert.ok(runtime.spec.supportedModelFormats.some(({ name }: { name: string }) => name === model.modelFormat.name))
    assert.ok(runtime.spec.protocolVersions.includes(model.protocolVersion))
    const settings = loadSettings(environmentOf(container), [])
    assert.ok(terminationGracePeriodSeconds * 1000 > settings.shutdownMs)
    assert.equal(JSON.parse(readDocument(`models/${service.metadata.name}/manifest.json`)).name, service.metadata.name)
    assert.equal(container.image, `bankswitch:${JSON.parse(readDocument('package.json')).version}`)
    const ports = [settings.port, Number(runtime.spec.annotations['prometheus.kserve.io/port']), container.readinessProbe.httpGet.port, container.livenessProbe.httpGet.port]
    assert.deepEqual(new Set(ports), new Set(container.ports.map(({ containerPort }: { containerPort: number }) => containerPort)))
    const mounts = container.volumeMounts.map(({ mountPath }: { mountPath: string }) => mountPath) as string[]
    for (const path of [settings.store, settings.jobsDir, settings.auditFile, settings.adminKeyFile, settings.cacheDir]) {
      assert.ok(mounts.some((mount) => path === mount || path.startsWith(`${mount}/`)), path)
    }
    assert.equal(container.securityContext.readOnlyRootFilesystem, true)
  })

  it('answers its probes and the protocol when it is started as it says', async (t) => {
    const { address, environment, ended, stop } = await startAsSaid(t, container)
    for (const { httpGet: { path } } of [container.readinessProbe, container.livenessProbe]) {
      assert.equal((await fetch(address + path)).status, 200, path)
    }
    assert.equal((await fetch(address + runtime.spec.annotations['prometheus.kserve.io/path'])).status, 200)
    const server = await (await fetch(`${address}/v2`)).json() as { name: string, extensions: string[] }
    assert.equal(server.name, 'bankswitch')
    const about = `${address}/v2/models/${service.metadata.name}`
    assert.equal((await fetch(`${about}/ready`)).status, 200)
    const { inputs: [input], outputs: [output] } = await (await fetch(about)).json() as Record<'inputs' | 'outputs', [{ name: string }]>
    const data = Array.from({ length: 3072 }, (_, at) => Math.fround(Math.cos(at)))
    const inferred = await fetch(`${about}/infer`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ inputs: [{ name: input.name, shape: [1, 3, 32, 32], datatype: 'FP32', data }] })
    })
    const { model_name: name, outputs } = await inferred.json() as { model_name: string, outputs: Array<{ name: string, shape: number[] }> }
    assert.equal(name, service.metadata.name)
    assert.deepEqual(outputs.map(({ name, shape }) => ({ name, shape })), [{ name: output.name, shape: [1, 43] }])
    const { payload, headers } = binaryRequest({ shape: [1, 3, 32, 32], values: Float32Array.from(data) })
    const binary = await fetch(`${about}/infer`, { method: 'POST', body: new Uint8Array(payload), headers: { ...headers, 'x-domain': 'fog' } })
    assert.deepEqual([binary.status, binary.headers.get('x-domain')], [200, 'fog'])

    const health = () => spawnSync(process.execPath, [MAIN, ...image.healthcheck.slice(2)], {
      env: cleanEnvironment({ ...environment, BANKSWITCH_PORT: new URL(address).port }), encoding: 'utf8'
    })
    assert.deepEqual({ status: health().status, stderr: health().stderr }, { status: 0, stderr: '' })
    stop()
    assert.equal(await ended, 0)
    assert.equal(health().status, 1)
  })
})

/** Runs the image's program with the runtime's arguments and environment; paths below `/` lie in a folder of the test's. */
async function startAsSaid (t: TestContext, container: any) {
  const root = await temporaryFolder(t)
  await shipSigns(root)
  await mkdir(join(root, 'mnt'), { recursive: true })
  // Where KServe puts what an InferenceService names as its storage.
  await symlink(root, join(root, 'mnt/models'))
  const said = environmentOf(container)
  const environment: Record<string, string> = Object.fromEntries(Object.entries(said).map(([name, value]) => {
    return [name, value.startsWith('/') ? join(root, value) : value]
  }))
  assert.deepEqual([said.BANKSWITCH_PORT, said.BANKSWITCH_CACHE_DIR], ['8080', '/var/cache/bankswitch'])
  const moved = { ...environment, BANKSWITCH_PORT: '0', BANKSWITCH_CACHE_DIR: testCache() }
  const [, program] = image.entrypoint.slice(image.entrypoint.indexOf('--') + 1)
  assert.ok(container.command === undefined && MAIN.endsWith(`/${program}`))
  const child = spawn(process.execPath, [MAIN, ...container.args], {
    cwd: root, env: cleanEnvironment(moved), stdio: ['ignore', 'pipe', 'pipe']
  })
  const ended = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | string)
  t.after(async () => {
    child.kill('SIGKILL')
    await ended
  })
  let output = ''
  child.stderr.on('data', (chunk: Buffer) => { output += chunk.toString() })
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      if (output.includes('"msg":"ready"')) resolve()
    })
    void ended.then((how) => reject(new Error(`it ended (${how}) before it was ready:\n${output}`)))
  })
  // It listens on every address.
  const port = /"address":"http:\/\/[^"]*:(\d+)"/.exec(output)![1]!
  return { address: `http://127.0.0.1:${port}`, environment, ended, stop: () => child.kill('SIGTERM') }
}
