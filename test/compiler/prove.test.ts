import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { PADDING, type Port } from '#src/bank/port.js'
import { proveCompiled, relativeError, RELATIVE_ERROR_MAX, type Proof, type ProofSubject } from '#src/compiler/prove.js'
import { readBatchNorms } from '#src/compiler/read-batch-norms.js'
import { writeBankInto } from '#src/compiler/with-bank.js'
import { indexGraph } from '#src/onnx/graph.js'
import { parseModel, serializeModel, type OnnxModel } from '#src/onnx/model.js'
import { makeAttribute } from '#src/onnx/node.js'
import type { PlainTensor } from '#src/ort/session.js'
import { compileBytes, countKinds } from '../support/compile.js'
import { GraphBuilder } from '../support/graph-builder.js'

/** A net with a folded site (with a bias), an affine one and a generic one. */
function network (end: (g: GraphBuilder, logits: string) => string = (_, logits) => logits): Uint8Array {
  const g = new GraphBuilder()
  let x = g.input('x', ['n', 3, 12, 12])
  x = g.relu(g.batchNorm(g.conv(x, { inputs: 3, outputs: 16, kernel: 3, bias: true }), 16, 'folded'))
  x = g.relu(g.add(g.batchNorm(g.conv(x, { inputs: 16, outputs: 16, kernel: 5 }), 16, 'affine'), x))
  x = g.node('Flatten', [g.node('GlobalAveragePool', [g.conv(x, { inputs: 16, outputs: 32, kernel: 3, stride: 2 })])])
  return g.output(end(g, g.linear(g.batchNorm(x, 32, 'generic'), 32, 5)), ['n', 5]).bytes()
}

type Subject = ProofSubject & { folder: string }

async function subjectOf (t: Pick<TestContext, 'after'>, bytes: Uint8Array): Promise<Subject> {
  const artefact = await compileBytes(t, bytes, { foldBudget: 0.2 })
  assert.deepEqual(countKinds(artefact), { fold: 1, affine: 1, generic: 1 })
  return {
    ...artefact,
    compiledPath: artefact.graphPath,
    samples: artefact.inputs.map(({ name, dims }) => ({ [name]: dims.map((size) => size ?? 1) })),
    originalWith: (bank) => {
      const model = parseModel(bytes)
      writeBankInto(model, readBatchNorms(indexGraph(model.graph)).sites, bank)
      return model
    }
  }
}

async function assertFails (subject: ProofSubject): Promise<void> {
  const { maxRelativeError, isRowInvariant } = await proveCompiled(subject)
  assert.ok(maxRelativeError > 10 * RELATIVE_ERROR_MAX, `the proof measured ${maxRelativeError} only`)
  assert.equal(isRowInvariant, false)
}

const withPort = (subject: ProofSubject, which: Port, change: Partial<Port>): ProofSubject => {
  const ports = subject.layout.ports.map((port) => port === which ? { ...port, ...change } : port)
  return { ...subject, layout: { ...subject.layout, ports } }
}

/** The proof of a compiled graph that was changed on disk. */
async function withGraph (subject: Subject, change: (model: OnnxModel) => void): Promise<ProofSubject> {
  const model = parseModel(await readFile(subject.compiledPath))
  change(model)
  const compiledPath = join(subject.folder, 'changed.onnx')
  await writeFile(compiledPath, serializeModel(model))
  return { ...subject, compiledPath }
}

describe('a right graph', () => {
  test('is proven', async (t) => {
    const proof: Proof = await proveCompiled(await subjectOf(t, network()))
    assert.ok(proof.maxRelativeError > 0 && proof.maxRelativeError <= RELATIVE_ERROR_MAX, `${proof.maxRelativeError}`)
    assert.equal(proof.isRowInvariant, true)
  })
})

test('a wrong graph fails the proof', async (t) => {
  const subject = await subjectOf(t, network())

  await t.test('shuffled channel numbers in any one port', async () => {
    for (const port of subject.layout.ports) {
      const swapped = port.channel.map((channel) => channel === PADDING ? PADDING : channel ^ 1)
      await assertFails(withPort(subject, port, { channel: swapped }))
    }
  })

  await t.test('two channels swapped in any one port', async () => {
    for (const port of subject.layout.ports) {
      const swapped = port.channel.map((channel) => channel === 0 ? 1 : channel === 1 ? 0 : channel)
      await assertFails(withPort(subject, port, { channel: swapped }))
    }
  })

  await t.test('a dropped bias', async () => {
    const port = subject.layout.ports.find(({ bias }) => bias !== undefined)!
    const { bias, ...rest } = port
    assert.equal(bias!.length, 16)
    await assertFails({
      ...subject,
      layout: { ...subject.layout, ports: subject.layout.ports.map((other) => other === port ? rest : other) }
    })
  })

  await t.test('folded weights in another order', async () => {
    const port = subject.layout.ports.find(({ role }) => role === 'weight')!
    await assertFails(withPort(subject, port, { weights: port.weights!.slice().reverse() }))
  })

  await t.test('a port that reads another layer of the same width', async () => {
    const port = subject.layout.ports.find(({ layerKey, role }) => layerKey === 'affine' && role === 'scale')!
    await assertFails(withPort(subject, port, { layerKey: 'folded' }))
  })

  await t.test('a port that is never filled', async () => {
    for (const port of subject.layout.ports) {
      const ports = subject.layout.ports.filter((other) => other !== port)
      await assertFails({ ...subject, layout: { ...subject.layout, ports } })
    }
  })

  await t.test('a scale that is taken for a shift', async () => {
    const port = subject.layout.ports.find(({ role }) => role === 'scale')!
    await assertFails(withPort(subject, port, { role: 'shift' }))
  })

  await t.test('a graph that computes something else', async () => {
    await assertFails(await withGraph(subject, ({ graph }) => {
      const gemm = graph.node.find(({ opType }) => opType.endsWith('Gemm'))!
      const others = gemm.attribute.filter(({ name }) => name !== 'alpha')
      gemm.attribute = [...others, makeAttribute('alpha', { float: 1.01 })]
    }))
  })

  await t.test('a graph with an output of another shape', async () => {
    await assertFails(await withGraph(subject, ({ graph }) => {
      const gemm = graph.node.find(({ opType }) => opType.endsWith('Gemm'))!
      gemm.output[0] = 'wide'
      const columns = new GraphBuilder()
      columns.node('Concat', ['wide', 'wide'], { axis: { int: 1 } }, [graph.output[0]!.name])
      graph.node.push(...columns.model.graph.node)
      graph.output[0]!.type!.tensorType!.shape!.dim = []
    }))
  })
})

test('a squashed output does not hide a wrong graph', async (t) => {
  for (const squashing of ['Softmax', 'Sigmoid', 'Tanh']) {
    const subject = await subjectOf(t, network((g, logits) => {
      return g.node(squashing, [g.node('Mul', [logits, g.scalar(1000)])])
    }))
    assert.ok((await proveCompiled(subject)).maxRelativeError <= RELATIVE_ERROR_MAX)
    for (const port of subject.layout.ports) {
      const swapped = port.channel.map((channel) => channel === PADDING ? PADDING : channel ^ 1)
      await assertFails(withPort(subject, port, { channel: swapped }))
    }
  }
})

describe('rows that interact', () => {
  test('are seen', async (t) => {
    const subject = await subjectOf(t, network((g, logits) => {
      return g.node('Sub', [logits, g.node('ReduceMean', [logits], { axes: { ints: [0] } })])
    }))
    const { maxRelativeError, isRowInvariant } = await proveCompiled(subject)
    assert.ok(maxRelativeError <= RELATIVE_ERROR_MAX)
    assert.equal(isRowInvariant, false)
  })

  test('what squashed outputs hide need not have a row for each', async (t) => {
    const subject = await subjectOf(t, network((g, logits) => {
      const values = g.node('Reshape', [logits, g.ints('in.one.column', [-1, 1])])
      return g.node('Reshape', [g.node('Sigmoid', [values]), g.ints('in.rows', [-1, 5])])
    }))
    assert.equal((await proveCompiled(subject)).isRowInvariant, true)
  })

  test('a fixed batch axis is never shared', async (t) => {
    const subject = await subjectOf(t, network())
    const inputs = subject.inputs.map((input) => ({ ...input, dims: [1, 3, 12, 12] }))
    assert.equal((await proveCompiled({ ...subject, inputs })).isRowInvariant, false)
  })
})

describe('relativeError', () => {
  const floats = (...values: number[]): PlainTensor => {
    return { type: 'float32', dims: [values.length], data: Float32Array.from(values) }
  }

  test('is the largest difference over the largest expected value', () => {
    assert.equal(relativeError(floats(1, 2, 4), floats(1, 2, 4)), 0)
    assert.equal(relativeError(floats(1, 2.5, 4), floats(1, 2, 4)), 0.125)
    assert.equal(relativeError(floats(1, 2, -4.5), floats(1, 2, -4)), 0.125)
    assert.equal(relativeError(floats(8, 4), floats(4, 4)), 1)
  })

  test('does not forgive a small element because of its size', () => {
    assert.equal(relativeError(floats(0.5, 1), floats(0, 1)), 0.5)
  })

  test('zeros of either sign are equal', () => {
    assert.equal(relativeError(floats(0, -0), floats(-0, 0)), 0)
  })

  test('something where there should be nothing is infinitely wrong', () => {
    assert.equal(relativeError(floats(0, 1e-9), floats(0, 0)), Infinity)
  })

  test('nothing at all is equal', () => {
    assert.equal(relativeError(floats(), floats()), 0)
    assert.equal(relativeError(floats(0, 0), floats(0, 0)), 0)
  })

  for (const [title, actual, expected, error] of [
    ['NaN where NaN is expected', NaN, NaN, 0],
    ['an infinity where it is expected', Infinity, Infinity, 0],
    ['NaN where a number is expected', NaN, 1, Infinity],
    ['a number where NaN is expected', 1, NaN, Infinity],
    ['an infinity where a number is expected', Infinity, 1, Infinity],
    ['a number where an infinity is expected', 1, -Infinity, Infinity],
    ['the other infinity', Infinity, -Infinity, Infinity],
    ['NaN where an infinity is expected', NaN, Infinity, Infinity]
  ] as const) {
    test(`${title}: ${error}`, () => {
      assert.equal(relativeError(floats(2, actual), floats(2, expected)), error)
    })
  }

  test('an infinity does not hide an error beside it', () => {
    assert.equal(relativeError(floats(Infinity, 3), floats(Infinity, 2)), 0.5)
  })

  test('another shape or type is infinitely wrong', () => {
    const data = Float32Array.of(1, 2, 3, 4)
    const square: PlainTensor = { type: 'float32', dims: [2, 2], data }
    assert.equal(relativeError(square, { type: 'float32', dims: [4], data }), Infinity)
    assert.equal(relativeError(square, { type: 'float64', dims: [2, 2], data: Float64Array.of(1, 2, 3, 4) }), Infinity)
  })

  test('integers are compared as numbers, strings as they are', () => {
    const ids = (...values: bigint[]): PlainTensor => ({ type: 'int64', dims: [2], data: BigInt64Array.from(values) })
    assert.equal(relativeError(ids(1n, 4n), ids(1n, 4n)), 0)
    assert.equal(relativeError(ids(2n, 4n), ids(1n, 4n)), 0.25)
    const words = (...data: string[]): PlainTensor => ({ type: 'string', dims: [2], data })
    assert.equal(relativeError(words('a', 'b'), words('a', 'b')), 0)
    assert.equal(relativeError(words('a', 'b'), words('a', 'c')), Infinity)
  })
})
