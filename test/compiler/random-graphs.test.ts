/** Random small networks: compiled exactly, or refused. RANDOM_GRAPHS sets how many, TEST_SEED repeats a run. */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { BankswitchError } from '#src/base/errors.js'
import { compileExactly, countKinds } from '../support/compile.js'
import { anyNetwork, buildNetwork, type NetworkPlan } from '../support/random-network.js'
import { runSeed } from '../support/run-seed.js'

const GRAPHS = Number(process.env.RANDOM_GRAPHS ?? 500)

/** What may be refused: networks in which no batch norm is alive. */
const REFUSALS = ['COMPILE_NO_BATCH_NORM']

/** Statistics are a large part of such small networks; below a half hardly anything would be folded. */
const anyBudget = fc.constantFrom(0, 0.5, 1, 2, Infinity)

/** A Conv whose output the graph gives out too, and an Add behind it: the runtime made one node of them. */
const SWALLOWED_OUTPUT: NetworkPlan = {
  opset: 11,
  channels: 1,
  steps: [
    { kind: 'conv', from: 0, with: 0, size: 649, flags: 0 },
    { kind: 'batchNorm', from: 0, with: 0, size: 0, flags: 0 },
    { kind: 'output', from: 0, with: 0, size: 0, flags: 0 },
    { kind: 'sharedBatchNorm', from: 5, with: 0, size: 0, flags: 0 },
    { kind: 'conv', from: 0, with: 0, size: 0, flags: 0 },
    { kind: 'add', from: 29, with: 26, size: 0, flags: 0 },
    { kind: 'conv', from: 0, with: 0, size: 0, flags: 0 }
  ],
  hasHead: false,
  isAllRead: false
}

test('an output that a fusion of the runtime would lose', async (t) => {
  await compileExactly(t, buildNetwork(SWALLOWED_OUTPUT), { foldBudget: 0 }, { rows: [2] })
})

test(`${GRAPHS} random graphs`, async (t) => {
  const counts: Record<string, number> = {}
  const count = (what: string, many = 1) => { counts[what] = (counts[what] ?? 0) + many }
  await fc.assert(fc.asyncProperty(anyNetwork, anyBudget, fc.nat(1000), async (plan, foldBudget, bankSeed) => {
    const cleaning: Array<() => unknown> = []
    const context = { after: (clean: () => unknown) => { cleaning.push(clean) } } as Pick<TestContext, 'after'>
    try {
      const comparison = { seeds: [bankSeed, bankSeed + 1], rows: [2] }
      const artefact = await compileExactly(context, buildNetwork(plan), { foldBudget }, comparison)
      for (const [kind, many] of Object.entries(countKinds(artefact))) count(kind, many)
    } catch (error) {
      if (!(error instanceof BankswitchError)) throw error
      assert.ok(REFUSALS.includes(error.code), `${error.code}: ${error.message}`)
      count(error.code)
    } finally {
      for (const clean of cleaning) await clean()
    }
  }), { seed: runSeed, numRuns: GRAPHS, includeErrorInReport: true })
  t.diagnostic(JSON.stringify(counts))
  for (const kind of ['fold', 'affine', 'generic']) assert.ok(counts[kind]! > 0, `nothing was lowered as ${kind}`)
})
