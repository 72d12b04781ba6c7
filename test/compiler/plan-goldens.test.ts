/**
 * The plans of well-known networks, so that a change of the planner shows what it changes.
 * UPDATE_GOLDEN=1 writes them anew.
 */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspectModel } from '#src/compiler/inspect.js'
import { ROOT, temporaryFolder } from '../support/folders.js'
import { densenet121, efficientnetB0, shufflenetV2, superResolution } from '../support/more-networks.js'
import { mobilenetV2, resnet18, type Network } from '../support/networks.js'

const GOLDEN = join(ROOT, 'test/golden/plans.json')
const SIZE = 64

const networks: Record<string, (options: { size: number }) => Network> = {
  resnet18, mobilenetV2, densenet121, efficientnetB0, shufflenetV2, superResolution
}

const isUpdate = process.env.UPDATE_GOLDEN === '1'
const golden = JSON.parse(isUpdate ? '{}' : await readFile(GOLDEN, 'utf8')) as Record<string, unknown>

for (const [name, make] of Object.entries(networks)) {
  test(name, async (t) => {
    const { bytes, inputDims } = make({ size: SIZE })
    const path = join(await temporaryFolder(t), 'model.onnx')
    await writeFile(path, bytes)
    const plan = await inspectModel({ path, origin: 'graph' }, { foldBudget: 0.05, samples: [{ x: inputDims }] })
    const { bytesPerDomain, weightBytes, fingerprint, layers } = plan
    const received = {
      bytesPerDomain,
      weightBytes,
      fingerprint,
      layers: layers.map(({ key, kind, bytes, activationBytesSaved }) => `${key} ${kind} ${bytes} ${activationBytesSaved}`)
    }
    if (isUpdate) golden[name] = received
    else assert.deepEqual(received, golden[name])
  })
}

if (isUpdate) test('written', () => writeFile(GOLDEN, `${JSON.stringify(golden, null, 1)}\n`))
