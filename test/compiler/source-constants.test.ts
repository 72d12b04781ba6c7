import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { readArtefact } from '#src/compiler/artefact.js'
import { compileSource } from '#src/compiler/pipeline.js'
import { relativeError } from '#src/compiler/prove.js'
import { readBatchNorms } from '#src/compiler/read-batch-norms.js'
import { sampleFeeds } from '#src/compiler/sample-inputs.js'
import { evaluateConstants } from '#src/compiler/source/evaluate-constants.js'
import { runConstantNodes } from '#src/compiler/source/run-constant-nodes.js'
import { AttributeProtoSchema, TensorProtoSchema } from '#src/onnx/generated/onnx_pb.js'
import { indexGraph } from '#src/onnx/graph.js'
import { parseModel, serializeModel, type OnnxModel } from '#src/onnx/model.js'
import { AttributeType } from '#src/onnx/node.js'
import { DataType, float32Tensor, int64Tensor, readFloat32, readIntegers } from '#src/onnx/tensor.js'
import { openSession, type PlainTensor } from '#src/ort/session.js'
import { end, picture } from '../support/exact.js'
import { temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'

/** From this version on the operator set has CastLike and Shape with start and end. */
const OPSET = 18

const builder = (opset = OPSET) => new GraphBuilder({ opset })

/** Evaluates the constants of a copy, and demands that it still computes the same, to the bit. */
async function evaluated (g: GraphBuilder): Promise<OnnxModel> {
  const bytes = g.bytes()
  const model = parseModel(bytes)
  assert.equal(await evaluateConstants(model), true, 'something changed')
  const after = serializeModel(model)
  const [expected, actual] = [await run(bytes), await run(after)]
  for (const [name, tensor] of Object.entries(expected)) {
    assert.equal(relativeError(actual[name]!, tensor), 0, `output ${name} is the same`)
  }
  return parseModel(after)
}

async function run (bytes: Uint8Array): Promise<Record<string, PlainTensor>> {
  const session = await openSession(bytes, { optimization: 'disabled' })
  try {
    const shapes = Object.fromEntries(session.inputs.map(({ name, dims }) => [name, dims.map((size) => size ?? 1)]))
    return await session.run(sampleFeeds(session.inputs, shapes, 2, 1))
  } finally {
    await session.release()
  }
}

const operators = ({ graph }: OnnxModel): string[] => graph.node.map(({ opType }) => opType)

const initializer = ({ graph }: OnnxModel, name: string) => {
  const tensor = graph.initializer.find((one) => one.name === name)
  assert.ok(tensor !== undefined, `there is an initializer "${name}"`)
  return tensor
}

/** A node that stays as it is, although it reads constants only. */
async function staysWith (g: GraphBuilder, ...left: string[]): Promise<void> {
  const model = parseModel(g.bytes())
  await evaluateConstants(model)
  for (const opType of left) assert.ok(operators(model).includes(opType), `${opType} was left alone`)
}

/** `x + value`, the graph's output. */
function addTo (g: GraphBuilder, value: string, dims: ReadonlyArray<number | string> = ['n', 4]): GraphBuilder {
  g.output(g.add('x', value), dims)
  return g
}

function start (opset?: number): GraphBuilder {
  const g = builder(opset)
  g.input('x', ['n', 4])
  return g
}

describe('constants in place of', () => {
  test('1: Constant nodes of numbers, by their own names', async () => {
    const g = start()
    const numbers = g.node('Constant', [], { value: { tensor: float32Tensor('other', [4], Float32Array.of(1, 2, 3, 4)) } })
    const far = g.node('Constant', [], { value_ints: { ints: [4] } })
    const one = g.node('Constant', [], { value_float: { float: 0.5 } })
    g.output(g.add(g.node('Slice', [g.node('Add', ['x', numbers]), g.ints('from', [0]), far, g.ints('axes', [1])]), one), ['n', 4])
    const model = await evaluated(g)
    assert.deepEqual(operators(model), ['Add', 'Slice', 'Add'])
    assert.deepEqual([...readFloat32(initializer(model, numbers))], [1, 2, 3, 4])
    assert.deepEqual(readIntegers(initializer(model, far)), [4])
    assert.deepEqual([...readFloat32(initializer(model, one))], [0.5])
  })

  test('1: the largest integer, which says "to the end" and is beyond what a number holds', async () => {
    const g = start()
    const toEnd = g.node('Constant', [])
    g.model.graph.node.at(-1)!.attribute.push(create(AttributeProtoSchema, {
      name: 'value_ints', type: AttributeType.INTS, ints: [2n ** 63n - 1n]
    }))
    g.output(g.node('Slice', ['x', g.ints('from', [0]), toEnd, g.ints('axes', [1])]), ['n', 4])
    const { rawData } = initializer(await evaluated(g), toEnd)
    assert.equal(Buffer.from(rawData).toString('hex'), 'ffffffffffffff7f')
  })

  test('2: Shape and Size of weights, which are not run', async () => {
    const g = start()
    g.floats('w', [3, 5, 4], () => 0)
    const shape = g.node('Shape', ['w'], { start: { int: -2 } })
    const size = g.node('Size', ['w'])
    const sum = g.node('Add', [g.node('ReduceSum', [shape]), size])
    addTo(g, g.node('Cast', [sum], { to: { int: DataType.FLOAT } }))
    const model = await evaluated(g)
    assert.deepEqual(operators(model), ['Add'])
    assert.deepEqual([...readFloat32(model.graph.initializer[0]!)], [5 + 4 + 60])
  })

  test('2: not Shape of what depends on an input', async () => {
    const g = start()
    addTo(g, g.node('Cast', [g.node('Shape', ['x'], { start: { int: 1 } })], { to: { int: DataType.FLOAT } }))
    await staysWith(g, 'Shape', 'Cast')
  })

  test('3: CastLike to a value that depends on an input', async () => {
    const g = start()
    const y = g.relu('x')
    const low = g.node('CastLike', [g.node('Constant', [], { value_int: { int: 0 } }), y])
    const high = g.node('CastLike', [g.node('Constant', [], { value_int: { int: 1 } }), 'x'])
    g.output(g.node('Clip', [y, low, high]), ['n', 4])
    const model = await evaluated(g)
    assert.deepEqual(operators(model), ['Relu', 'Clip'])
    assert.deepEqual(model.graph.node[1]!.input.slice(1), [low, high])
  })

  test('4: any chain of operators', async () => {
    const g = start()
    g.floats('w', [4, 2], (at) => at)
    const turned = g.node('Transpose', ['w'], { perm: { ints: [1, 0] } })
    const row = g.node('Gather', [turned, g.ints('which', [1])], { axis: { int: 0 } })
    addTo(g, g.node('Sqrt', [g.node('Mul', [row, g.scalar(4)])]))
    const model = await evaluated(g)
    assert.deepEqual(operators(model), ['Add'])
    assert.deepEqual(model.graph.initializer.length, 1, 'what led to it is gone')
  })

  test('5: a bias of zeros, however it is made, but no other', async () => {
    const g = builder()
    let x = picture(g, 3)
    for (const value of [0, 1]) {
      x = g.conv(x, { inputs: 3, outputs: 3, kernel: 3, name: `conv${value}` })
      const shape = g.node('Expand', [g.node('Shape', [`conv${value}.weight`], { start: { int: 0 }, end: { int: 1 } }), g.ints(`one${value}`, [1])])
      const node = g.model.graph.node.findIndex(({ output }) => output[0] === x)
      const [conv] = g.model.graph.node.splice(node, 1)
      conv!.input.push(g.node('Expand', [g.node('CastLike', [g.node('Constant', [], { value_int: { int: value } }), 'x']), shape]))
      g.push(conv!)
    }
    end(g, x, 3)
    const model = await evaluated(g)
    const convs = model.graph.node.filter(({ opType }) => opType === 'Conv')
    assert.deepEqual(convs.map(({ input }) => input.length), [2, 3])
    assert.ok(!operators(model).includes('Expand'))
  })

  test('6: an initializer that is a graph input too', async () => {
    const g = start()
    g.floats('half', [1], () => 0.5)
    g.listInitializersAsInputs()
    addTo(g, g.node('Neg', ['half']))
    const model = parseModel(g.bytes())
    assert.equal(await evaluateConstants(model), true)
    assert.deepEqual(model.graph.input.map(({ name }) => name), ['x'])
    assert.deepEqual(operators(model), ['Add'])
  })

  test('and nothing at all in a graph that has none', async () => {
    const g = start()
    addTo(g, g.floats('b', [4], (at) => at))
    const model = parseModel(g.bytes())
    assert.equal(await evaluateConstants(model), false)
    assert.deepEqual(serializeModel(model), g.bytes())
  })
})

describe('constants leave alone', () => {
  test('7: random numbers', async () => {
    const g = start()
    addTo(g, g.node('RandomNormalLike', [g.floats('w', [4], () => 0)]))
    await staysWith(g, 'RandomNormalLike')
  })

  test('8: names that layer keys come from; other readers get a copy', async () => {
    const g = builder()
    const x = g.batchNorm(picture(g, 4), 4, 'first')
    const shared = ['weight', 'bias', 'running_mean', 'running_var'].map((suffix) => {
      return g.node('Identity', [`first.${suffix}`], {}, [`second.${suffix}`])
    })
    let y = g.node('BatchNormalization', [x, ...shared], { epsilon: { float: 1e-5 } })
    y = g.node('Mul', [y, g.node('Unsqueeze', ['second.weight', g.ints('axes', [1, 2])])])
    end(g, y, 4)
    const keys = (model: OnnxModel) => readBatchNorms(indexGraph(model.graph)).layers.map(({ key }) => key)
    const before = keys(parseModel(g.bytes()))
    const model = await evaluated(g)
    assert.deepEqual(keys(model), before)
    assert.ok(!operators(model).includes('Unsqueeze'), 'what is read elsewhere is evaluated')
    assert.equal(operators(model).filter((opType) => opType === 'Identity').length, 4)
  })

  test('8: but not parameters that nothing else could read', async () => {
    const g = builder()
    const x = picture(g, 4)
    const vector = (name: string, value: number) => g.floats(name, [4], () => value)
    const deviation = vector('bn.deviation', 2)
    const y = g.node('BatchNormalization', [
      x, vector('bn.weight', 1), vector('bn.bias', 0), vector('bn.running_mean', 0), g.node('Mul', [deviation, deviation])
    ])
    end(g, y, 4)
    assert.throws(() => readBatchNorms(indexGraph(parseModel(g.bytes()).graph)), /computed in the graph/)
    const { ownBank } = readBatchNorms(indexGraph((await evaluated(g)).graph))
    assert.deepEqual([...ownBank.get('bn')!.variance], [4, 4, 4, 4])
  })

  test('9: what 8-bit arithmetic needs', async () => {
    const g = start()
    const weights = g.tensor(create(TensorProtoSchema, { name: 'q', dims: [4n], dataType: DataType.INT8, rawData: Uint8Array.of(1, 2, 3, 4) }))
    addTo(g, g.node('DequantizeLinear', [weights, g.scalar(0.5)]))
    await staysWith(g, 'DequantizeLinear')
  })

  test('10: nested graphs, which still find what they read; texts', async () => {
    const g = start()
    const doubled = g.node('Add', [g.floats('w', [4], () => 1), 'w'])
    const branch = (opType: string) => {
      const b = builder()
      return b.output(b.node(opType, [doubled]), [4])
    }
    const condition = g.tensor(create(TensorProtoSchema, { name: 'yes', dims: [], dataType: DataType.BOOL, rawData: Uint8Array.of(1) }))
    addTo(g, g.choose(condition, branch('Neg'), branch('Abs')))
    const text = g.node('Constant', [])
    g.model.graph.node.at(-1)!.attribute.push(create(AttributeProtoSchema, {
      name: 'value', type: AttributeType.TENSOR, t: { dims: [1n], dataType: DataType.STRING, stringData: [Buffer.from('a')] }
    }))
    g.output(g.node('Identity', [text]), [1], DataType.STRING)
    const model = await evaluated(g)
    assert.deepEqual(operators(model), ['If', 'Add', 'Constant', 'Identity'])
    assert.deepEqual([...readFloat32(initializer(model, doubled))], [2, 2, 2, 2])
  })

  test('11: what would take much more memory than what it is made from', async () => {
    const g = start()
    const huge = g.node('ConstantOfShape', [g.ints('shape', [1 << 20, 1 << 20])])
    g.output(g.add('x', g.node('ReduceMax', [huge])), ['n', 4])
    await staysWith(g, 'ConstantOfShape', 'ReduceMax')
  })

  test('11: a chain that doubles at every link', async () => {
    const g = start()
    let value = g.floats('w', [4096], () => 1)
    for (let link = 0; link < 30; link++) value = g.node('Concat', [value, value], { axis: { int: 0 } })
    g.output(g.add('x', g.node('ReduceMax', [value])), ['n', 4])
    const model = parseModel(g.bytes())
    await evaluateConstants(model)
    const largest = Math.max(...model.graph.initializer.map(({ rawData }) => rawData.length))
    assert.equal(largest, 2 ** 20)
    assert.ok(operators(model).includes('Concat'))
  })

  test('11: more than all results may take together', async () => {
    const g = start()
    g.floats('w', [1000], () => 1)
    const nodes = ['Neg', 'Abs', 'Sqrt'].map((opType) => {
      g.node(opType, ['w'])
      return g.model.graph.node.at(-1)!
    })
    const known = new Map(g.model.graph.initializer.map((tensor) => [tensor.name, tensor]))
    const budget = { bytesLeft: 9000 }
    const results = await runConstantNodes(g.model, nodes, known, budget)
    assert.deepEqual([...results.keys()], nodes.slice(0, 2).map(({ output }) => output[0]))
    assert.equal(budget.bytesLeft, 1000)
  })

  test('11: results of unknown size', async () => {
    const g = start()
    const where = g.node('NonZero', [g.floats('w', [4], (at) => at)])
    g.output(g.add('x', g.node('ReduceMax', [g.node('Cast', [where], { to: { int: DataType.FLOAT } })])), ['n', 4])
    await staysWith(g, 'NonZero')
  })

  test('12: outputs of the graph, but not what they read', async () => {
    const g = start()
    const inner = g.node('Neg', [g.floats('w', [4], () => 1)])
    g.output(g.node('Abs', [inner]), [4])
    g.output(g.node('Constant', [], { value_float: { float: 1 } }), [])
    g.output(g.relu('x'), ['n', 4])
    assert.deepEqual(operators(await evaluated(g)), ['Abs', 'Constant', 'Relu'])
  })

  test('13: what the runtime has no kernel for, beside what it can', async () => {
    const g = start()
    g.tensor(create(TensorProtoSchema, { name: 'b', dims: [4n], dataType: DataType.BFLOAT16, rawData: new Uint8Array(8) }))
    const odd = g.node('Sin', ['b'])
    const known = new Map([...g.model.graph.initializer, int64Tensor('i', [1], [7])].map((tensor) => [tensor.name, tensor]))
    g.node('Neg', ['i'], {}, ['minus'])
    const results = await runConstantNodes(g.model, g.model.graph.node, known, { bytesLeft: 1e6 })
    assert.deepEqual(readIntegers(results.get('minus')!), [-7])
    assert.ok(!results.has(odd))
  })
})

/** A network as Paddle's exporter writes it: every weight a Constant node. */
function constantWeights (): GraphBuilder {
  const g = builder()
  let x = picture(g, 3, 16)
  for (const [inputs, outputs] of [[3, 16], [16, 32], [32, 32]] as const) {
    x = g.relu(g.batchNorm(g.conv(x, { inputs, outputs, kernel: 3 }), outputs))
  }
  end(g, x, 32)
  const { graph } = g.model
  const constants = graph.initializer.splice(0)
  const nodes = graph.node.splice(0)
  for (const tensor of constants) g.node('Constant', [], { value: { tensor } }, [tensor.name])
  graph.node.push(...nodes)
  return g
}

test('weights in Constant nodes count as weights, set the budget and lie in the mapped file', async (t: TestContext) => {
  const folder = await temporaryFolder(t)
  const g = constantWeights()
  const path = join(folder, 'model.onnx')
  await writeFile(path, g.bytes())
  await compileSource({ path, origin: 'graph' }, folder, { foldBudget: 1, samples: [] })
  const { weightBytes, sites, graphPath } = await readArtefact(folder)
  assert.ok(weightBytes > 4 * (9 * (3 * 16 + 16 * 32 + 32 * 32)), `${weightBytes} bytes of weights`)
  assert.ok(sites.some(({ kind }) => kind === 'fold'))
  assert.ok(!operators(parseModel(await readFile(graphPath))).includes('Constant'))
})
