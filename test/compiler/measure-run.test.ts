import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { test } from 'node:test'
import { readArtefact } from '#src/compiler/artefact.js'
import { compileModel } from '#src/compiler/pipeline.js'
import { temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'

const CHANNELS = 16

test('the memory of a run is what its activations take at once, and grows with the input', async (t) => {
  const g = new GraphBuilder()
  let x = g.input('x', ['n', 3, 'h', 'w'])
  for (let layer = 0, inputs = 3; layer < 4; layer++, inputs = CHANNELS) {
    x = g.relu(g.batchNorm(g.conv(x, { inputs, outputs: CHANNELS, kernel: 3 }), CHANNELS))
  }
  g.output(x, ['n', CHANNELS, 'h', 'w'])
  const measured = async (side: number) => {
    const folder = await temporaryFolder(t)
    await compileModel(g.bytes(), folder, { foldBudget: 0, samples: [{ x: [1, 3, side, side] }] })
    assert.deepEqual((await readdir(folder)).filter((name) => name.startsWith('profile')), [])
    return (await readArtefact(folder)).runBytes
  }
  // Of one layer, padding aside: what a convolution reads and writes lives at once.
  const bytesOf = (side: number) => CHANNELS * side * side * Float32Array.BYTES_PER_ELEMENT
  const [small, large] = [await measured(64), await measured(128)]
  for (const [side, bytes] of [[64, small], [128, large]] as const) {
    assert.ok(bytes >= 2 * bytesOf(side) && bytes <= 5 * bytesOf(side), `${bytes} at ${side}`)
  }
  // The arena hands out pieces that may be larger than what was asked for.
  assert.ok(large / small > 3 && large / small < 7, `${small} to ${large}`)
})
