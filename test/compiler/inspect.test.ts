import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { inspectModel } from '#src/compiler/inspect.js'
import { end, picture } from '../support/exact.js'
import { temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'

async function adviceOn (t: TestContext, hasBatchNorm: boolean): Promise<string[]> {
  const g = new GraphBuilder({ opset: 18 })
  const vector = (value: number) => g.floats(g.fresh('vector'), [8], () => value)
  let x = g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 })
  if (hasBatchNorm) x = g.batchNorm(x, 8, 'bn')
  for (let count = 0; count < 2; count++) x = g.node('InstanceNormalization', [x, vector(1), vector(0)])
  x = g.node('LayerNormalization', [x, g.floats('scale', [9], () => 1)], { axis: { int: 3 } })
  end(g, x, 8)
  const path = join(await temporaryFolder(t), 'model.onnx')
  await writeFile(path, g.bytes())
  return (await inspectModel({ path, origin: 'graph' }, { foldBudget: 0.05, samples: [] })).advice
}

test('normalisations that no bank is for are told of, beside batch norms and without any', async (t) => {
  for (const hasBatchNorm of [true, false]) {
    const told = (await adviceOn(t, hasBatchNorm)).filter((line) => line.includes('left alone'))
    assert.deepEqual(told.map((line) => line.split(' nodes')[0]), ['2 InstanceNormalization', '1 LayerNormalization'])
  }
})
