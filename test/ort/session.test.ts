import assert from 'node:assert/strict'
import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { openSession, type PlainTensor, type SessionOptions } from '#src/ort/session.js'
import { parseModel } from '#src/onnx/model.js'
import { DataType } from '#src/onnx/tensor.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'

const AS_WRITTEN: SessionOptions = { optimization: 'disabled' }

/** doubled = x + x, of a varying number of rows, and its shape. */
function doubler (): Uint8Array {
  const g = new GraphBuilder()
  g.input('x', ['rows', 3])
  g.node('Add', ['x', 'x'], {}, ['doubled'])
  g.node('Shape', ['doubled'], {}, ['shape'])
  return g.output('doubled', ['rows', 3]).output('shape', [2], DataType.INT64).bytes()
}

const floats = (dims: number[], ...values: number[]): PlainTensor => {
  return { type: 'float32', dims, data: Float32Array.from(values) }
}

describe('openSession', () => {
  test('describes inputs and outputs, with null where a size varies', async () => {
    const g = new GraphBuilder()
    g.input('x', ['rows', 3])
    g.model.graph.input[0]!.type!.tensorType!.shape!.dim[0]!.value = { case: undefined }
    g.input('flags', [2], DataType.BOOL)
    g.node('Identity', ['x'], {}, ['y'])
    g.node('Identity', ['flags'], {}, ['z'])
    const session = await openSession(g.output('y', ['rows', 3]).output('z', [2], DataType.BOOL).bytes(), AS_WRITTEN)
    assert.deepEqual(session.inputs, [
      { name: 'x', type: 'float32', dims: [null, 3] }, { name: 'flags', type: 'bool', dims: [2] }
    ])
    assert.deepEqual(session.outputs, [
      { name: 'y', type: 'float32', dims: [null, 3] }, { name: 'z', type: 'bool', dims: [2] }
    ])
    await session.release()
  })

  test('opens a file', async (t) => {
    const path = join(await temporaryFolder(t), 'model.onnx')
    await writeFile(path, doubler())
    const session = await openSession(path, AS_WRITTEN)
    const { doubled } = await session.run({ x: floats([1, 3], 1, 2, 3) })
    assert.deepEqual(doubled, floats([1, 3], 2, 4, 6))
    await session.release()
  })

  test('refuses what is no model', async (t) => {
    await assert.rejects(openSession(Buffer.from('no model at all'), AS_WRITTEN), hasCode('ORT_LOAD_FAILED'))
    const missing = join(await temporaryFolder(t), 'missing.onnx')
    await assert.rejects(openSession(missing, AS_WRITTEN), hasCode('ORT_LOAD_FAILED'))
  })

  test('refuses an operator that the runtime lacks, in the words of the runtime', async () => {
    const g = new GraphBuilder()
    g.output(g.node('NoSuchOperator', [g.input('x', [1])]), [1])
    await assert.rejects(openSession(g.bytes(), AS_WRITTEN), (error: Error) => {
      return hasCode('ORT_LOAD_FAILED')(error) && error.message.includes('NoSuchOperator')
    })
  })

  test('refuses a model with a sequence at its border', async () => {
    const g = new GraphBuilder()
    const sequence = g.node('SequenceConstruct', [g.input('x', [1])])
    g.output(sequence, [])
    Object.assign(g.model.graph.output[0]!, { type: undefined })
    await assert.rejects(openSession(g.bytes(), AS_WRITTEN), hasCode('ORT_LOAD_FAILED'))
  })

  test('writes the graph that the runtime has optimised', async (t) => {
    const g = new GraphBuilder()
    const x = g.input('x', ['rows', 3, 8, 8])
    g.output(g.relu(g.batchNorm(g.conv(x, { inputs: 3, outputs: 4, kernel: 3 }), 4)), ['rows', 4, 8, 8])
    const opTypes: string[][] = []
    for (const optimization of ['disabled', 'all'] as const) {
      const optimizedPath = join(await temporaryFolder(t), 'optimised.onnx')
      await (await openSession(g.bytes(), { optimization, optimizedPath })).release()
      opTypes.push(parseModel(await readFile(optimizedPath)).graph.node.map(({ opType }) => opType))
    }
    assert.deepEqual(opTypes[0], ['Conv', 'BatchNormalization', 'Relu'])
    assert.ok(!opTypes[1]!.includes('BatchNormalization'), `${opTypes[1]}`)
  })

  test('passes entries of the session configuration on', async (t) => {
    const folder = await temporaryFolder(t)
    const g = new GraphBuilder()
    g.output(g.linear(g.input('x', [1, 100]), 100, 10), [1, 10])
    await (await openSession(g.bytes(), {
      optimization: 'basic',
      optimizedPath: join(folder, 'optimised.onnx'),
      config: {
        'session.optimized_model_external_initializers_file_name': 'weights.bin',
        'session.optimized_model_external_initializers_min_size_in_bytes': '1000'
      }
    })).release()
    assert.deepEqual((await readdir(folder)).sort(), ['optimised.onnx', 'weights.bin'])
  })

  test('writes a profile where it was told to', async (t) => {
    const folder = await temporaryFolder(t)
    const session = await openSession(doubler(), { ...AS_WRITTEN, profilePrefix: join(folder, 'profile') })
    await session.run({ x: floats([1, 3], 1, 2, 3) })
    session.endProfiling()
    await session.release()
    const [file] = await readdir(folder)
    assert.match(await readFile(join(folder, file!), 'utf8'), /Add/)
  })
})

describe('run', () => {
  test('gives every output, or those that are wanted', async () => {
    const session = await openSession(doubler(), AS_WRITTEN)
    const x = floats([2, 3], 1, 2, 3, 4, 5, 6)
    assert.deepEqual(await session.run({ x }), {
      doubled: floats([2, 3], 2, 4, 6, 8, 10, 12),
      shape: { type: 'int64', dims: [2], data: BigInt64Array.of(2n, 3n) }
    })
    assert.deepEqual(Object.keys(await session.run({ x }, ['shape'])), ['shape'])
    await session.release()
  })

  test('takes no rows at all', async () => {
    const session = await openSession(doubler(), AS_WRITTEN)
    assert.deepEqual((await session.run({ x: floats([0, 3]) })).doubled, floats([0, 3]))
    await session.release()
  })

  const wrong: Array<[string, Record<string, PlainTensor>, string[]?]> = [
    ['no feed', {}],
    ['another size', { x: floats([1, 4], 1, 2, 3, 4) }],
    ['another rank', { x: floats([3], 1, 2, 3) }],
    ['another type', { x: { type: 'int32', dims: [1, 3], data: Int32Array.of(1, 2, 3) } }],
    ['fewer values than its dimensions say', { x: floats([2, 3], 1, 2, 3) }],
    ['an unknown output', { x: floats([1, 3], 1, 2, 3) }, ['unknown']]
  ]
  for (const [title, feeds, wanted] of wrong) {
    test(`refuses ${title}`, async () => {
      const session = await openSession(doubler(), AS_WRITTEN)
      await assert.rejects(session.run(feeds, wanted), hasCode('ORT_RUN_FAILED'))
      assert.deepEqual((await session.run({ x: floats([1, 3], 1, 2, 3) })).doubled, floats([1, 3], 2, 4, 6))
      await session.release()
    })
  }

  test('refuses memory that is shared between threads, or reads it right: Node 20 and 26 differ', async () => {
    const session = await openSession(doubler(), AS_WRITTEN)
    const data = new Float32Array(new SharedArrayBuffer(12))
    data.set([1, 2, 3])
    const feeds = { x: { type: 'float32' as const, dims: [1, 3], data } }
    const outcome = await session.run(feeds, ['doubled']).catch((error: unknown) => error)
    if (outcome instanceof Error) assert.ok(hasCode('ORT_RUN_FAILED')(outcome), String(outcome))
    else assert.deepEqual(outcome, { doubled: floats([1, 3], 2, 4, 6) })
    await session.release()
  })
})
