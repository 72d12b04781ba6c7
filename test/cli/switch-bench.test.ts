import assert from 'node:assert/strict'
import { create } from '@bufbuild/protobuf'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { benchFolder, folderCells, FOLDER_HEADER, geometricMean, pairFiles } from '#src/cli/bench-folder.js'
import { joined, measure, type Timing } from '#src/cli/measure.js'
import { benchSwitch, compareWithFastest } from '#src/cli/switch-bench.js'
import { prepareSource } from '#src/compiler/pipeline.js'
import { StringStringEntryProtoSchema } from '#src/onnx/generated/onnx_pb.js'
import { parseModel, serializeModel } from '#src/onnx/model.js'
import { hasCode } from '../support/errors.js'
import { picture } from '../support/exact.js'
import { temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'

/** `DataLocation` of ONNX. */
const EXTERNAL = 1

const OPTIONS = { foldBudget: 0.05, samples: [] }

/** Convolution, batch norm, and a bias that is computed, as exporters write it; or what is left once it is folded. */
function network (kind: 'kept' | 'folded' | 'other', input = 'x'): Uint8Array {
  const g = new GraphBuilder({ opset: 18 })
  const x = picture(g, 3, 8, input)
  const name = 'conv'
  let y = g.conv(x, { inputs: 3, outputs: 4, kernel: 3, name })
  if (kind === 'kept') {
    const length = g.node('Shape', [`${name}.weight`], { end: { int: 1 }, start: { int: 0 } })
    const zero = g.node('Constant', [], { value_float: { float: 0 } })
    const bias = g.node('Expand', [zero, length])
    const [conv, ...chain] = g.model.graph.node.splice(0)
    conv!.input.push(bias)
    g.model.graph.node.push(...chain, conv!)
    y = g.batchNorm(y, 4, 'bn')
  } else if (kind === 'other') {
    y = g.relu(y)
  }
  g.output(y, ['n', 4, 8, 8])
  return g.bytes()
}

function timing (name: string, times: number[]): Timing {
  const medianMs = times.toSorted((a, b) => a - b)[times.length >> 1]!
  return { name, times, medianMs, spread: 0, ratio: 1 }
}

describe('the baseline', () => {
  test('is the fastest of what one could load, and the ratio is taken in the same round', () => {
    const { baseline, ratioToFused, ratios } = compareWithFastest(
      [timing('file', [9, 9, 9]), timing('prepared', [2, 4, 3]), timing('against', [5, 5, 5])],
      timing('switched', [3, 4, 6])
    )
    assert.equal(baseline.name, 'prepared')
    assert.deepEqual(ratios, [1.5, 1, 2])
    assert.equal(ratioToFused, 1.5)
  })

  test('is told, with the times of all that were measured', async (t) => {
    const folder = await temporaryFolder(t)
    const path = join(folder, 'a.onnx')
    const against = join(folder, 'b.onnx')
    await writeFile(path, network('kept'))
    await writeFile(against, network('folded', 'image'))
    const prepared = await prepareSource({ path, origin: 'graph' })
    const result = await benchSwitch({ prepared, options: OPTIONS, against }, 2, 3)
    assert.deepEqual(Object.keys(result.baselinesMs), ['file', 'prepared', 'against'])
    assert.equal(result.fusedMs, Math.min(...Object.values(result.baselinesMs)))
    assert.equal(result.fusedMs, result.baselinesMs[result.baseline])
    assert.deepEqual([result.bnLayers, result.rounds], [1, 3])
    assert.ok(result.ratioToFused > 0 && result.maxRelativeError <= 1e-4)
    assert.ok(result.againstError! > 0.01, 'a convolution without the batch norm computes something else')
  })

  test('is no file that reads what lies elsewhere', async (t) => {
    const folder = await temporaryFolder(t)
    const path = join(folder, 'a.onnx')
    await writeFile(path, network('kept'))
    const model = parseModel(network('folded'))
    const [weights] = model.graph.initializer
    weights!.rawData = new Uint8Array(0)
    weights!.dataLocation = EXTERNAL
    weights!.externalData = [create(StringStringEntryProtoSchema, { key: 'location', value: '/etc/hostname' })]
    const against = join(folder, 'b.onnx')
    await writeFile(against, serializeModel(model))
    const prepared = await prepareSource({ path, origin: 'graph' })
    await assert.rejects(
      benchSwitch({ prepared, options: OPTIONS, against }, 1, 2), hasCode('ONNX_EXTERNAL_DATA')
    )
  })

  test('is the file alone when there was nothing to prepare', async (t) => {
    const path = join(await temporaryFolder(t), 'clean.onnx')
    const g = new GraphBuilder()
    g.output(g.batchNorm(g.conv(picture(g, 3, 8), { inputs: 3, outputs: 4 }), 4), ['n', 4, 8, 8])
    await writeFile(path, g.bytes())
    const prepared = await prepareSource({ path, origin: 'graph' })
    const { baseline, baselinesMs, againstError } = await benchSwitch({ prepared, options: OPTIONS }, 1, 2)
    assert.equal(baseline, 'file')
    assert.deepEqual(Object.keys(baselinesMs), ['file'])
    assert.equal(againstError, undefined)
  })
})

test('contenders run in turns, in an order that alternates', async () => {
  const runs: string[] = []
  const timings = await measure(['a', 'b'].map((name) => ({ name, run: async () => { runs.push(name) } })), 2, 1)
  assert.deepEqual(runs, ['a', 'b', 'b', 'a', 'a', 'b'])
  assert.deepEqual(timings.map(({ times }) => times.length), [2, 2])
})

test('several measurements are one of all their rounds', () => {
  const [a, b] = joined([[timing('a', [1, 2]), timing('b', [2, 2])], [timing('a', [4]), timing('b', [12])]])
  assert.deepEqual([a!.times, b!.times], [[1, 2, 4], [2, 2, 12]])
  assert.deepEqual([a!.medianMs, b!.medianMs, b!.ratio], [2, 2, 2])
})

describe('a folder', () => {
  test('is paired by name', () => {
    assert.deepEqual(pairFiles(['b.kept.onnx', 'a.onnx', 'notes.md', 'b.folded.onnx', 'c.folded.onnx', 'd.kept.onnx']), [
      { model: 'a', file: 'a.onnx' },
      { model: 'b', file: 'b.kept.onnx', against: 'b.folded.onnx' },
      { model: 'c.folded', file: 'c.folded.onnx' },
      { model: 'd', file: 'd.kept.onnx' }
    ])
  })

  test('is measured file by file; one that fails is a row', async (t) => {
    const folder = await temporaryFolder(t)
    await writeFile(join(folder, 'net.kept.onnx'), network('kept'))
    await writeFile(join(folder, 'net.folded.onnx'), network('folded'))
    await writeFile(join(folder, 'broken.onnx'), 'no model')
    await writeFile(join(folder, 'plain.onnx'), network('other'))
    const files: string[] = []
    const rows = await benchFolder(folder, OPTIONS, 1, 2, (file) => files.push(file))
    assert.deepEqual(files, ['broken.onnx', 'net.kept.onnx', 'plain.onnx'])
    const [broken, net, plain] = rows
    assert.equal((broken as { code: string }).code, 'ONNX_NOT_A_MODEL')
    assert.equal((plain as { code: string }).code, 'COMPILE_NO_BATCH_NORM')
    assert.ok(net !== undefined && !('error' in net) && net.baselinesMs.against !== undefined)
    // By way of logarithms, so the last digit is open.
    assert.ok(Math.abs(geometricMean(rows)! / net.ratioToFused - 1) < 1e-12)
    for (const row of rows) assert.equal(folderCells(row).length, FOLDER_HEADER.length)
    assert.equal(geometricMean([broken!]), undefined)
  })

  test('that is not there is refused', async () => {
    await assert.rejects(benchFolder('nowhere', OPTIONS, 1, 1), hasCode('CONFIG_INVALID'))
  })
})
