/** The table of passes, and that a pass which breaks its promise ends the compilation under its name. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { asPrepared, Compilation } from '#src/compiler/compilation.js'
import { runPass, runPasses, type Pass } from '#src/compiler/pass.js'
import { ANALYSING, PASSES, PREPARING, ROUND } from '#src/compiler/passes.js'
import { compileSource, prepareSource } from '#src/compiler/pipeline.js'
import { FunctionProtoSchema, StringStringEntryProtoSchema } from '#src/onnx/generated/onnx_pb.js'
import { makeNode } from '#src/onnx/node.js'
import { DataType, float32Tensor } from '#src/onnx/tensor.js'
import { hasCode } from '../support/errors.js'
import { end, picture } from '../support/exact.js'
import { ROOT, temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'
import type { ModelSource } from '#src/compiler/source/model-source.js'

/** One batch norm that can be folded, one that cannot, and weights that are worth a file. */
function network (): GraphBuilder {
  const g = new GraphBuilder()
  const y = g.relu(g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 64, kernel: 3 }), 64, 'stem.bn'))
  end(g, g.batchNorm(g.add(y, y), 64, 'tail.bn'), 64)
  return g
}

describe('the table', () => {
  test('has every pass once, each in a file that says it is one', () => {
    assert.equal(new Set(PASSES.map(({ name }) => name)).size, PASSES.length)
    assert.equal(new Set(PASSES.map(({ file }) => file)).size, PASSES.length)
    for (const { name, file } of PASSES) {
      assert.match(name, /^[a-z]+$/)
      assert.match(readFileSync(join(ROOT, 'src/compiler', file), 'utf8'), /^\/\*\*\s(?: \* )?Pass: /, file)
    }
  })

  test('has what a pass requires promised by one before it', () => {
    const promised = new Set<string>()
    for (const { name, requires, ensures } of PASSES) {
      for (const invariant of requires) assert.ok(promised.has(invariant.name), `${name} requires: ${invariant.name}`)
      for (const invariant of ensures) promised.add(invariant.name)
    }
    assert.ok(promised.size >= 10)
  })

  test('is what progress tells, in order', async (t) => {
    const [folder, place] = [await temporaryFolder(t), await temporaryFolder(t)]
    const path = join(place, 'model.onnx')
    await writeFile(path, network().bytes())
    const told: string[] = []
    await compileSource({ path, origin: 'graph' }, folder, { foldBudget: 1, samples: [] }, (name, round) => told.push(`${name} ${round}`))
    assert.deepEqual(told, PASSES.map(({ name }) => `${name} 1`))
  })
})

describe('a preparing pass that does nothing', () => {
  /** Sources on which each pass has work to do. */
  const sources: Record<string, (g: GraphBuilder) => Partial<ModelSource>> = {
    load: ({ model }) => {
      const [tensor] = model.graph.initializer
      tensor!.dataLocation = 1
      tensor!.externalData = [create(StringStringEntryProtoSchema, { key: 'location', value: 'weights' })]
      return {}
    },
    inline: ({ model }) => {
      // The last batch norm goes into a function within a function.
      const body = model.graph.node.findLast(({ opType }) => opType === 'BatchNormalization')!
      const call = makeNode('Outer', 'call', [...body.input], [...body.output], {})
      call.domain = 'local'
      model.graph.node = model.graph.node.map((node) => node === body ? call : node)
      const formals = ['x', 'gamma', 'beta', 'mean', 'variance']
      const inner = makeNode('Inner', 'inner', formals, ['y'], {})
      inner.domain = 'local'
      const batchNorm = makeNode('BatchNormalization', 'bn', formals, ['y'], {})
      const functionOf = (name: string, node: typeof inner) => create(FunctionProtoSchema, {
        domain: 'local', name, input: formals, output: ['y'], node: [node]
      })
      model.functions = [functionOf('Outer', inner), functionOf('Inner', batchNorm)]
      return {}
    },
    widen: ({ model }) => {
      const node = model.graph.node.find(({ opType }) => opType === 'Relu')!
      const half = makeNode('Cast', 'half', [node.input[0]!], ['half'], { to: { int: DataType.FLOAT16 } })
      const back = makeNode('Cast', 'back', ['half'], ['back'], { to: { int: DataType.FLOAT } })
      node.input[0] = 'back'
      model.graph.node.push(half, back)
      return {}
    },
    evaluate: ({ model }) => {
      const node = model.graph.node.find(({ opType }) => opType === 'Relu')!
      const [input] = node.input
      node.opType = 'Add'
      node.input = [input!, 'half']
      model.graph.node.unshift(makeNode('Constant', 'half', [], ['half'], { value_float: { float: 0.5 } }))
      return {}
    },
    restore: ({ model }) => {
      for (const node of model.graph.node) if (node.opType === 'BatchNormalization') node.opType = 'Sum'
      return { origin: 'reference-state', statePath: '/nowhere' }
    },
    insert: (g) => {
      end(g, g.conv('x', { inputs: 3, outputs: 2, kernel: 1 }), 2)
      return { origin: 'inserted' }
    }
  }

  for (const { name, ensures: [promise] } of PREPARING.filter(({ ensures }) => ensures.length > 0)) {
    test(`is found out: ${name}`, async (t) => {
      assert.ok(sources[name] !== undefined, 'a pass that promises something needs a source here on which it has work to do')
      const path = join(await temporaryFolder(t), 'model.onnx')
      const g = network()
      const source: ModelSource = { path, origin: 'graph', ...sources[name]!(g) }
      await writeFile(path, g.bytes())
      const passes = PREPARING.map((pass) => pass.name === name ? { ...pass, run: () => false } : pass)
      await assert.rejects(prepareSource(source, () => {}, passes), hasCode('COMPILE_PASS_BROKEN', {
        pass: name, ensures: promise!.name
      }))
    })
  }

  test('in front of one that requires it, the other is stopped', async (t) => {
    const path = join(await temporaryFolder(t), 'model.onnx')
    const g = network()
    sources.load!(g)
    await writeFile(path, g.bytes())
    const passes = PREPARING.filter(({ name }) => name !== 'load')
    await assert.rejects(prepareSource({ path, origin: 'graph' }, () => {}, passes), hasCode('COMPILE_PASS_BROKEN', {
      pass: 'widen', requires: PREPARING[0]!.ensures[0]!.name
    }))
  })
})

describe('a compiling pass that breaks its promise is found out', () => {
  type Sabotage = (work: Compilation) => void
  const kinds = (kind: 'fold' | 'affine'): Sabotage => (work) => {
    work.plan = { ...work.plan, sites: work.plan.sites.map((site) => ({ ...site, kind })) }
  }
  const cases: Array<[string, string, number, Sabotage]> = [
    ['read', 'a batch norm that is not in the graph', 0, ({ model }) => { model.graph.node.shift(); model.graph.node.splice(0, 1) }],
    ['probe', 'a shape that is missing', 0, ({ probe }) => { probe.activations.pop() }],
    ['probe', 'other channels', 0, ({ probe }) => { probe.activations[1] = [1, 63, 9, 9] }],
    ['plan', 'a fold without a convolution', 0, kinds('fold')],
    ['plan', 'another form for what is generic', 0, (work) => { work.lessons.generic.add(0); kinds('affine')(work) }],
    ['lower', 'a batch norm that is left', 0, ({ model: { graph } }) => {
      graph.node.push(makeNode('BatchNormalization', 'left', ['x', 'g', 'b', 'm', 'v'], ['left'], {}))
    }],
    ['lower', 'sentinels that are missing', 1, ({ model: { graph } }) => {
      graph.initializer = graph.initializer.filter(({ name }) => name !== 'bankswitch.port.0')
    }],
    ['lower', 'sentinels of other values', 1, ({ model: { graph } }) => {
      const port = graph.initializer.find(({ name }) => name === 'bankswitch.port.1')!
      port.rawData = port.rawData.map((byte) => byte ^ 1)
    }],
    ['optimise', 'an output too many', 0, ({ model: { graph } }) => { graph.output.push(graph.output[0]!) }],
    ['promote', 'a slice that is no input', 0, ({ model: { graph } }) => { graph.input.pop() }],
    ['promote', 'slices that overlap', 0, ({ promoted }) => { promoted.inputs.at(-1)!.offset = 0 }],
    ['promote', 'a port that is missing', 0, ({ promoted: { layout } }) => { (layout.ports as unknown[]).pop() }],
    ['externalise', 'weights in the graph', 0, ({ model: { graph } }) => {
      graph.initializer.push(float32Tensor('left', [1024], new Float32Array(1024)))
    }],
    ['prove', 'a proof that failed', 0, ({ proof }) => { proof.maxRelativeError = 1e-3 }],
    ['prove', 'a proof that is no number', 0, ({ proof }) => { proof.maxRelativeError = NaN }]
  ]

  const compileWith = async (t: TestContext, passName: string, run: (pass: Pass<Compilation>) => Pass<Compilation>['run']) => {
    const work = new Compilation(asPrepared(network().bytes()), { foldBudget: Infinity, samples: [] }, await temporaryFolder(t))
    const passes = [...ANALYSING, ...ROUND].map((pass) => pass.name === passName ? { ...pass, run: run(pass) } : pass)
    return await runPasses(passes, work, () => {})
  }

  for (const [name, what, promise, sabotage] of cases) {
    test(`${name}: ${what}`, async (t) => {
      const compiling = compileWith(t, name, (pass) => async (work) => {
        await pass.run(work)
        sabotage(work)
      })
      const { ensures } = PASSES.find((pass) => pass.name === name)!
      await assert.rejects(compiling, hasCode('COMPILE_PASS_BROKEN', { pass: name, ensures: ensures[promise]!.name }))
    })
  }

  test('and without sabotage the same compilation comes to its end', async (t) => {
    assert.equal(await compileWith(t, 'none', ({ run }) => run), true)
  })

  test('write: nothing without a proof', async (t) => {
    const compiling = compileWith(t, 'verify', () => ({ proof }) => { proof.maxRelativeError = 1 })
    await assert.rejects(compiling, hasCode('COMPILE_PASS_BROKEN', { pass: 'write', requires: ROUND.at(-1)!.requires[0]!.name }))
  })
})

describe('a pass that asks for another round', () => {
  const pass = (run: Pass<string[]>['run']): Pass<string[]> => ({
    name: 'one', file: 'one.ts', does: '', requires: [], ensures: [{ name: 'nothing holds', holds: () => false }], run
  })

  test('promises nothing, and nothing behind it runs', async () => {
    const ran: string[] = []
    const told: string[] = []
    const passes = [pass(() => 'again'), pass((work) => work.push('ran'))]
    assert.equal(await runPasses(passes, ran, (name) => told.push(name)), false)
    assert.deepEqual([ran, told], [[], ['one']])
  })

  test('any other result is checked, and given back', async () => {
    await assert.rejects(runPass(pass(() => 'done'), []), hasCode('COMPILE_PASS_BROKEN', { pass: 'one', ensures: 'nothing holds' }))
    assert.equal(await runPass({ ...pass(() => 'done'), ensures: [] }, []), 'done')
  })
})
