/** Compiling models in a test, and comparing what came out with the original. */
import assert from 'node:assert/strict'
import { readArtefact, type Artefact } from '#src/compiler/artefact.js'
import { compileModel } from '#src/compiler/pipeline.js'
import { bankFeeds, relativeError } from '#src/compiler/prove.js'
import { sampleFeeds, type SampleShapes } from '#src/compiler/sample-inputs.js'
import { packBank } from '#src/bank/pack.js'
import { openSession } from '#src/ort/session.js'
import { parseModel, serializeModel } from '#src/onnx/model.js'
import { makeValueInfo } from '#src/onnx/node.js'
import { DataType, float32Tensor } from '#src/onnx/tensor.js'
import type { CompileOptions } from '#src/compiler/compile-options.js'
import type { Bank, BatchNormLayer, LayerStatistics } from '#src/bank/bank.js'
import { temporaryFolder } from './folders.js'
import { seededNormal, seededUniform } from './random.js'
import type { TestContext } from 'node:test'

type Context = Pick<TestContext, 'after'>

/** What may lie between the original and the artefact, relative to the largest output: see compiler/prove.ts. */
export const TOLERANCE = 1e-4

/** Compiles into a temporary folder and reads the artefact back. */
export async function compileBytes (
  t: Context, bytes: Uint8Array, options: Partial<CompileOptions> = {}
): Promise<Artefact> {
  const folder = await temporaryFolder(t)
  await compileModel(bytes, folder, { foldBudget: 0.05, samples: [], ...options })
  return await readArtefact(folder)
}

/** Statistics far from the model's own: every channel its own mean, variance, sign and size. */
export function randomBank ({ layers }: { layers: readonly BatchNormLayer[] }, seed: number): Bank {
  const normal = seededNormal(seed)
  const uniform = seededUniform(seed + 1)
  return new Map(layers.map(({ key, channels }): [string, LayerStatistics] => {
    const vector = (value: () => number) => Float32Array.from({ length: channels }, value)
    return [key, {
      mean: vector(() => 0.5 * normal()),
      variance: vector(() => 0.25 + 2 * uniform()),
      gamma: vector(() => (uniform() < 0.2 ? -1 : 1) * (0.5 + uniform())),
      beta: vector(() => 0.5 * normal())
    }]
  }))
}

/**
 * The original with other statistics, written by another way than the compiler's: by the names of the nodes, which
 * must be there and unique. Below IR version 4 initializers are listed as inputs.
 */
export function originalWithBank (bytes: Uint8Array, { sites }: Pick<Artefact, 'sites'>, bank: Bank): Uint8Array {
  const model = parseModel(bytes)
  for (const [at, { node: wanted, layerKey }] of sites.entries()) {
    const [node, ...others] = model.graph.node.filter(({ name }) => name === wanted)
    assert.ok(node !== undefined && others.length === 0, `one node is called "${wanted}"`)
    const { gamma, beta, mean, variance } = bank.get(layerKey)!
    for (const [slot, values] of [gamma, beta, mean, variance].entries()) {
      const name = `test.bank.${at}.${slot}`
      model.graph.initializer.push(float32Tensor(name, [values.length], values))
      if (model.irVersion < 4n) model.graph.input.push(makeValueInfo(name, DataType.FLOAT, [values.length]))
      node.input[slot + 1] = name
    }
  }
  return serializeModel(model)
}

export interface Comparison {
  /** The given shapes, or the model's own. */
  samples?: readonly SampleShapes[]
  rows?: readonly number[]
  /** Seeds of random banks; the model's own bank is always compared. */
  seeds?: readonly number[]
}

/** Largest relative error over banks, samples and outputs; the original runs without any of the runtime's fusions. */
export async function errorAgainstOriginal (
  bytes: Uint8Array, artefact: Artefact, { samples = [], rows = [1, 3], seeds = [1, 2] }: Comparison = {}
): Promise<number> {
  const compiled = await openSession(artefact.graphPath, { optimization: 'disabled' })
  let worst = 0
  try {
    for (const bank of [artefact.ownBank, ...seeds.map((seed) => randomBank(artefact, seed))]) {
      const flat = packBank(artefact.layout, bank)
      const original = await openSession(originalWithBank(bytes, artefact, bank), { optimization: 'disabled' })
      try {
        for (const shapes of samples.length > 0 ? samples : [fixedShapes(artefact)]) {
          for (const count of rows) {
            const feeds = sampleFeeds(artefact.inputs, shapes, count, 7000 + count)
            const expected = await original.run(feeds)
            const actual = await compiled.run({ ...feeds, ...bankFeeds(artefact.bankInputs, flat) })
            assert.deepEqual(Object.keys(actual).sort(), Object.keys(expected).sort(), 'the same outputs')
            for (const name of Object.keys(expected)) {
              worst = Math.max(worst, relativeError(actual[name]!, expected[name]!))
            }
          }
        }
      } finally {
        await original.release()
      }
    }
  } finally {
    await compiled.release()
  }
  return worst
}

function fixedShapes ({ inputs }: Artefact): SampleShapes {
  return Object.fromEntries(inputs.map(({ name, dims }) => [name, dims.map((size) => size ?? 1)]))
}

/** Compiles and demands that the artefact computes what the original computes, under own and random banks. */
export async function compileExactly (
  t: Context, bytes: Uint8Array, options: Partial<CompileOptions> = {}, comparison: Comparison = {}
): Promise<Artefact> {
  const artefact = await compileBytes(t, bytes, options)
  const error = await errorAgainstOriginal(bytes, artefact, { samples: options.samples ?? [], ...comparison })
  assert.ok(error <= TOLERANCE, `relative error ${error} against the original`)
  return artefact
}

/** How many sites were lowered in each way. */
export function countKinds ({ sites }: Pick<Artefact, 'sites'>): { fold: number, affine: number, generic: number } {
  const counts = { fold: 0, affine: 0, generic: 0 }
  for (const { kind } of sites) counts[kind]++
  return counts
}
