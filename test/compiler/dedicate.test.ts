import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { packBank } from '#src/bank/pack.js'
import { GRAPH_FILE, readArtefact, WEIGHTS_FILE } from '#src/compiler/artefact.js'
import { dedicateInProcess } from '#src/compiler/compile-process.js'
import { proveDedicated, writeDedicated, type DedicateRequest } from '#src/compiler/dedicate.js'
import { compileSource } from '#src/compiler/pipeline.js'
import { bankFeeds, relativeError, RELATIVE_ERROR_MAX } from '#src/compiler/prove.js'
import { sampleFeeds } from '#src/compiler/sample-inputs.js'
import { parseModel, serializeModel } from '#src/onnx/model.js'
import { makeNode } from '#src/onnx/node.js'
import { float32Tensor } from '#src/onnx/tensor.js'
import { openSession } from '#src/ort/session.js'
import { randomBank } from '../support/compile.js'
import { hasCode } from '../support/errors.js'
import { end, picture } from '../support/exact.js'
import { temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'

function network (): GraphBuilder {
  const g = new GraphBuilder()
  const first = g.relu(g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 16, kernel: 3 }), 16))
  const second = g.relu(g.batchNorm(g.conv(first, { inputs: 16, outputs: 16, kernel: 3 }), 16))
  end(g, g.add(first, second), 16)
  return g
}

/** A compiled network, and what is asked for one of its banks. */
async function compiled (t: TestContext): Promise<DedicateRequest> {
  const path = join(await temporaryFolder(t), 'model.onnx')
  await writeFile(path, network().bytes())
  const source = { path, origin: 'graph' } as const
  const artefactFolder = await temporaryFolder(t)
  await compileSource(source, artefactFolder, { foldBudget: 0, samples: [] })
  const bank = randomBank(await readArtefact(artefactFolder), 5)
  return { source, artefactFolder, bank, folder: await temporaryFolder(t), runRows: 4 }
}

test('the network of one bank computes what the artefact computes under it, with its batch norms fused away', async (t) => {
  const request = await compiled(t)
  await writeDedicated(request)
  const { graphPath, weightBytes, sessionBytes, maxRelativeError } = await proveDedicated(request)
  assert.equal(weightBytes, (await readFile(join(request.folder, WEIGHTS_FILE))).length)
  assert.ok(maxRelativeError <= RELATIVE_ERROR_MAX)
  assert.ok(sessionBytes >= 0)
  const { graph } = parseModel(await readFile(graphPath))
  assert.deepEqual(graph.input.map(({ name }) => name), ['x'], 'no bank is asked for')
  assert.deepEqual(graph.node.filter(({ opType }) => ['BatchNormalization', 'Mul'].includes(opType)), [])

  const artefact = await readArtefact(request.artefactFolder)
  const [dedicated, switched] = [graphPath, artefact.graphPath].map((path) => openSession(path, { optimization: 'disabled' }))
  const feeds = sampleFeeds(artefact.inputs, artefact.samples[0]!, 3, 9)
  const expected = await (await switched!).run({ ...feeds, ...bankFeeds(artefact.bankInputs, packBank(artefact.layout, request.bank)) })
  const actual = await (await dedicated!).run(feeds)
  for (const name of Object.keys(expected)) assert.ok(relativeError(actual[name]!, expected[name]!) <= RELATIVE_ERROR_MAX)
  for (const opened of [dedicated, switched]) await (await opened!).release()
})

test('that of another bank is refused', async (t) => {
  const request = await compiled(t)
  await writeDedicated(request)
  const other = randomBank(await readArtefact(request.artefactFolder), 6)
  await assert.rejects(proveDedicated({ ...request, bank: other }), hasCode('COMPILE_PROOF_FAILED', { expected: RELATIVE_ERROR_MAX }))
})

test('a graph in which rows see each other is refused, however small the difference', async (t) => {
  const request = await compiled(t)
  await writeDedicated(request)
  const path = join(request.folder, GRAPH_FILE)
  const model = parseModel(await readFile(path))
  const { node, initializer, output: [output] } = model.graph
  const producer = node.find((one) => one.output.includes(output!.name))!
  producer.output[producer.output.indexOf(output!.name)] = 'alone'
  initializer.push(float32Tensor('little', [1], Float32Array.of(1e-6)))
  node.push(
    makeNode('ReduceMean', 'mean', ['alone'], ['mean'], { keepdims: { int: 1 } }),
    makeNode('Mul', 'weighted', ['mean', 'little'], ['weighted']),
    makeNode('Add', 'mixed', ['alone', 'weighted'], [output!.name])
  )
  await writeFile(path, serializeModel(model))
  await assert.rejects(proveDedicated(request), (error: Error) => {
    assert.match(error.message, /rows .* depend on each other/)
    return hasCode('COMPILE_PROOF_FAILED')(error)
  })
})

test('children make it, and give way; an abort ends them', async (t) => {
  const request = await compiled(t)
  const { maxRelativeError } = await dedicateInProcess(request)
  assert.ok(maxRelativeError <= RELATIVE_ERROR_MAX)
  const reason = new Error('not wanted any more')
  await assert.rejects(dedicateInProcess(request, AbortSignal.abort(reason)), reason)
})
