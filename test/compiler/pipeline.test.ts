/** Whole compilations, compared with the original under the model's own and random banks: exact, or refused. */
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { ROUND } from '#src/compiler/passes.js'
import { compileModel } from '#src/compiler/pipeline.js'
import { RELATIVE_ERROR_MAX } from '#src/compiler/prove.js'
import { FunctionProtoSchema } from '#src/onnx/generated/onnx_pb.js'
import { makeAttribute } from '#src/onnx/node.js'
import { elementCount } from '#src/base/dims.js'
import { DataType } from '#src/onnx/tensor.js'
import type { Artefact } from '#src/compiler/artefact.js'
import { compileBytes, compileExactly, countKinds, errorAgainstOriginal, TOLERANCE } from '../support/compile.js'
import { hasCode } from '../support/errors.js'
import { end, picture } from '../support/exact.js'
import { temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'
import { mobilenetV2, resnet18 } from '../support/networks.js'

const FLOAT_BYTES = 4

const bankBytesOf = ({ layout }: Artefact): number => layout.length * FLOAT_BYTES

describe('well-known networks', () => {
  for (const [name, { bytes, inputDims }] of [
    ['ResNet-18, a quarter as wide', resnet18({ size: 64, width: 16, classes: 100 })],
    ['MobileNetV2', mobilenetV2({ size: 64, classes: 100 })]
  ] as const) {
    const compile = (t: Parameters<typeof compileExactly>[0], foldBudget: number) => {
      return compileExactly(t, bytes, { foldBudget, samples: [{ x: inputDims }] }, { rows: [2] })
    }

    test(`${name}, statistics alone`, async (t) => {
      const artefact = await compile(t, 0)
      const { fold, affine, generic } = countKinds(artefact)
      assert.deepEqual([fold, generic], [0, 0])
      assert.equal(affine, artefact.sites.length)
      assert.equal(artefact.proof.isRowInvariant, true)
    })

    test(`${name}, a twentieth of the weights per domain`, async (t) => {
      const artefact = await compile(t, 0.05)
      assert.ok(bankBytesOf(artefact) <= 0.05 * artefact.weightBytes, `${bankBytesOf(artefact)} bytes a bank`)
      const { fold, affine } = countKinds(artefact)
      assert.ok(fold > 0 && affine > 0, `${fold} folded, ${affine} not`)
      assert.equal(artefact.proof.isRowInvariant, true)
    })

    test(`${name}, everything folded`, async (t) => {
      const artefact = await compile(t, Infinity)
      assert.equal(countKinds(artefact).fold, artefact.sites.length)
      assert.equal(artefact.proof.isRowInvariant, true)
    })
  }
})

describe('the budget', () => {
  /** Convs of growing weight over shrinking pictures, of which some are padded by the runtime. */
  const network = () => {
    const g = new GraphBuilder()
    let x = picture(g, 3, 24)
    for (const [inputs, outputs] of [[3, 5], [5, 12], [12, 17], [17, 24], [24, 40], [40, 64]] as const) {
      x = g.relu(g.batchNorm(g.conv(x, { inputs, outputs, kernel: 3, stride: outputs > 20 ? 2 : 1 }), outputs))
    }
    g.output(g.head(x, 64, 10), ['n', 10])
    return g.bytes()
  }

  test('bounds the bytes of a bank, padding and gaps included', async (t) => {
    const bytes = network()
    const base = bankBytesOf(await compileBytes(t, bytes, { foldBudget: 0 }))
    let folds = 0
    for (const foldBudget of [0.02, 0.04, 0.08, 0.16, 0.32, 0.64]) {
      const artefact = await compileBytes(t, bytes, { foldBudget })
      const bankBytes = bankBytesOf(artefact)
      assert.ok(bankBytes <= Math.max(base, foldBudget * artefact.weightBytes), `${bankBytes} bytes at ${foldBudget}`)
      assert.ok(artefact.sites.reduce((sum, site) => sum + site.bankBytes, 0) <= bankBytes)
      folds = Math.max(folds, countKinds(artefact).fold)
    }
    assert.ok(folds > 0, 'something was folded')
  })

  test('counts the gaps between the slices of a bank', async (t) => {
    const bytes = network()
    const artefact = await compileBytes(t, bytes, { foldBudget: 0.3 })
    const siteBytes = artefact.sites.reduce((sum, site) => sum + site.bankBytes, 0)
    assert.ok(siteBytes < bankBytesOf(artefact), 'there are gaps')
    const foldBudget = (siteBytes + 1) / artefact.weightBytes
    assert.ok(bankBytesOf(await compileBytes(t, bytes, { foldBudget })) <= siteBytes + 1)
  })

  test('plans for the first sample', async (t) => {
    const g = new GraphBuilder()
    const x = g.input('x', ['n', 16, 'height', 'width'])
    end(g, g.batchNorm(g.conv(x, { inputs: 16, outputs: 16, kernel: 3 }), 16), 16, 'size')
    const { sites: [site] } = await compileBytes(t, g.bytes(), {
      foldBudget: Infinity, samples: [{ x: [1, 16, 10, 20] }, { x: [1, 16, 40, 40] }]
    })
    assert.equal(site!.savedBytes, 2 * 16 * 10 * 20 * FLOAT_BYTES)
  })
})

describe('the artefact', () => {
  const network = () => {
    const g = new GraphBuilder()
    const y = g.conv(picture(g, 3), { inputs: 3, outputs: 16, kernel: 3, bias: true })
    const z = g.relu(g.batchNorm(y, 16, 'stem.bn'))
    g.output(g.head(g.batchNorm(g.add(z, z), 16, 'tail.bn'), 16, 5), ['n', 5])
    return g
  }

  test('describes what was compiled', async (t) => {
    const g = network()
    const artefact = await compileBytes(t, g.bytes(), { foldBudget: Infinity })
    assert.deepEqual(artefact.layers.map(({ key, channels }) => [key, channels]), [['stem.bn', 16], ['tail.bn', 16]])
    assert.deepEqual(artefact.sites.map(({ layerKey, kind, node }) => [layerKey, kind, node]), [
      ['stem.bn', 'fold', g.model.graph.node[1]!.name], ['tail.bn', 'affine', g.model.graph.node[4]!.name]
    ])
    assert.deepEqual(artefact.inputs, [{ name: 'x', type: 'float32', dims: [null, 3, 9, 9] }])
    assert.deepEqual(artefact.outputs.map(({ type, dims }) => ({ type, dims })), [{ type: 'float32', dims: [null, 5] }])
    assert.equal(artefact.weightBytes, g.model.graph.initializer.reduce((sum, { rawData }) => sum + rawData.length, 0))
    assert.match(artefact.fingerprint, /^[0-9a-f]{64}$/)
    assert.deepEqual([...artefact.ownBank.keys()], ['stem.bn', 'tail.bn'])
  })

  test('is the same every time', async (t) => {
    const bytes = network().bytes()
    const [{ folder: one, ...first }, { folder: other, ...second }] = await Promise.all([
      compileBytes(t, bytes), compileBytes(t, bytes)
    ])
    assert.deepEqual({ ...second, graphPath: '', stemPath: '' }, { ...first, graphPath: '', stemPath: '' })
    for (const name of await readdir(one)) {
      assert.deepEqual(await readFile(join(other, name)), await readFile(join(one, name)), name)
    }
  })

  test('a bank for it is one array, whose slices do not overlap', async (t) => {
    const { bankInputs, layout } = await compileBytes(t, network().bytes(), { foldBudget: Infinity })
    const slices = bankInputs.map(({ offset, dims }) => [offset, offset + elementCount(dims)] as const)
    for (const [at, [begin]] of slices.entries()) assert.ok(begin >= (slices[at - 1]?.[1] ?? 0))
    assert.equal(slices.at(-1)![1], layout.length)
  })
})

describe('progress', () => {
  const stepsOf = async (t: TestContext, g: GraphBuilder, foldBudget: number) => {
    const steps: string[] = []
    await compileModel(g.bytes(), await temporaryFolder(t), { foldBudget, samples: [] }, (pass, round) => {
      steps.push(`${pass} ${round}`)
    })
    return steps
  }

  test('tells every further round', async (t) => {
    const g = new GraphBuilder()
    const y = g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 16, kernel: 3 }), 16)
    end(g, g.node('Mul', [y, g.floats('constant', [16, 1, 1], () => g.uniform())]), 16)
    assert.deepEqual(await stepsOf(t, g, Infinity), [
      'read 1', 'probe 1', 'stem 1', 'plan 1', 'lower 1', 'optimise 1', 'promote 1',
      ...ROUND.map(({ name }) => `${name} 2`)
    ])
  })
})

describe('refused', () => {
  const refused = async (t: TestContext, bytes: Uint8Array, code: string, details = {}) => {
    const folder = await temporaryFolder(t)
    const steps: string[] = []
    const compiling = compileModel(bytes, folder, { foldBudget: 0.05, samples: [] }, (step) => { steps.push(step) })
    await assert.rejects(compiling, hasCode(code, details))
    assert.ok(!(await readdir(folder)).includes('artefact.json'), 'no artefact was written')
    return steps
  }

  test('what is no model', async (t) => {
    await refused(t, Buffer.from('{"not": "a model"}'), 'ONNX_NOT_A_MODEL')
  })

  test('a model without batch norms', async (t) => {
    const g = new GraphBuilder()
    end(g, g.relu(g.conv(picture(g, 3), { inputs: 3, outputs: 4, kernel: 3 })), 4)
    assert.deepEqual(await refused(t, g.bytes(), 'COMPILE_NO_BATCH_NORM'), ['read'])
  })

  test('batch norms in training mode', async (t) => {
    const g = new GraphBuilder()
    const y = g.batchNorm(picture(g, 3), 3)
    g.model.graph.node.at(-1)!.attribute.push(makeAttribute('training_mode', { int: 1 }))
    end(g, y, 3)
    await refused(t, g.bytes(), 'COMPILE_BATCH_NORM_TRAINING', { node: g.model.graph.node[0]!.name })
  })

  test('batch norms inside a function of the model', async (t) => {
    const g = new GraphBuilder()
    end(g, g.batchNorm(picture(g, 3), 3), 3)
    g.model.functions.push(create(FunctionProtoSchema, { name: 'normalise', node: g.model.graph.node }))
    await refused(t, g.bytes(), 'COMPILE_BATCH_NORM_NESTED', { node: 'normalise' })
  })

  test('an operator set that the runtime does not take', async (t) => {
    const g = new GraphBuilder({ opset: 6, irVersion: 3 })
    end(g, g.batchNorm(picture(g, 3), 3), 3)
    await refused(t, g.listInitializersAsInputs().bytes(), 'ORT_LOAD_FAILED')
  })

  test('sizes that were not given', async (t) => {
    const g = new GraphBuilder()
    end(g, g.batchNorm(g.input('x', ['n', 3, 'height', 'width']), 3), 3, 'size')
    await refused(t, g.bytes(), 'COMPILE_INPUT_SHAPE_UNKNOWN', { input: 'x' })
  })

  test('16-bit floats', async (t) => {
    const g = new GraphBuilder()
    const y = g.batchNorm(g.node('Cast', [picture(g, 3)], { to: { int: DataType.FLOAT16 } }), 3)
    end(g, g.node('Cast', [y], { to: { int: DataType.FLOAT } }), 3)
    await refused(t, g.bytes(), 'COMPILE_BATCH_NORM_TYPE', { received: 'float16' })
  })

  test('statistics whose folded form leaves float32', async (t) => {
    const g = new GraphBuilder()
    const ones = g.floats('ones', [3], () => 1)
    const y = g.node('BatchNormalization', [picture(g, 3), ones, ones, ones, g.floats('zeros', [3], () => 0)], {
      epsilon: { float: 0 }
    })
    end(g, y, 3)
    await refused(t, g.bytes(), 'BANK_VALUE_INVALID')
  })

  test('weights in another file', async (t) => {
    const g = new GraphBuilder()
    end(g, g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 16, kernel: 3 }), 16), 16)
    g.model.graph.initializer[0]!.dataLocation = 1
    await refused(t, g.bytes(), 'ONNX_UNSUPPORTED')
  })

  test('what differs in every lowering: here because it rolls dice', async (t) => {
    const g = new GraphBuilder()
    const x = g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 16, kernel: 3 }), 16)
    end(g, g.add(x, g.node('RandomNormalLike', [x])), 16)
    const steps = await refused(t, g.bytes(), 'COMPILE_PROOF_FAILED', { expected: RELATIVE_ERROR_MAX })
    assert.equal(steps.filter((step) => step === 'prove').length, 2)
  })
})

test('the comparison of these tests sees a wrong artefact', async (t) => {
  const g = new GraphBuilder()
  end(g, g.batchNorm(g.relu(picture(g, 4)), 4), 4)
  const artefact = await compileBytes(t, g.bytes())
  const ports = artefact.layout.ports.map((port) => ({ ...port, channel: port.channel.map((channel) => channel % 3) }))
  const wrong = { ...artefact, layout: { ...artefact.layout, ports } }
  assert.ok(await errorAgainstOriginal(g.bytes(), artefact) <= TOLERANCE)
  assert.ok(await errorAgainstOriginal(g.bytes(), wrong) > 100 * TOLERANCE)
})
