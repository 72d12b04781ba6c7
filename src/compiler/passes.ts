/**
 * The compiler's passes, in order. The table drives what runs, what progress tells, what is checked between passes
 * (pass.ts), and ARCHITECTURE.md. A new pass is a file of its own and a row here.
 */
import { dirname, join } from 'node:path'
import { indexGraph } from '../onnx/graph.js'
import { parseModel } from '../onnx/model.js'
import { readModel } from './analyse.js'
import { GRAPH_FILE } from './artefact.js'
import { compilerErrors } from './errors.js'
import { writeSharing } from './externalise-weights.js'
import { findFoldableConv } from './find-foldable-conv.js'
import * as invariant from './invariants.js'
import { learnCosts, learnLost, learnWrong } from './lessons.js'
import { lowerBatchNorms } from './lower-batch-norms.js'
import { measureRun } from './measure-run.js'
import { optimise } from './optimise.js'
import { AGAIN, type Pass } from './pass.js'
import { probeModel } from './probe.js'
import { promotePorts } from './promote-ports.js'
import { proveCompiled, RELATIVE_ERROR_MAX } from './prove.js'
import { readBatchNorms } from './read-batch-norms.js'
import { evaluateConstants } from './source/evaluate-constants.js'
import { loadExternalData } from './source/external-data.js'
import { inlineFunctions } from './source/inline-functions.js'
import { insertBatchNorms } from './source/insert-batch-norms.js'
import { openReshapes } from './source/open-reshapes.js'
import { restoreBatchNorms } from './source/restore-batch-norms.js'
import { splitSequences } from './source/split-sequences.js'
import { verifyPrepared } from './source/verify-prepared.js'
import { widenFloat16 } from './source/widen-float16.js'
import { stemOf } from './stem.js'
import { withBank } from './with-bank.js'
import { writeCompiled } from './write-compiled.js'
import type { Compilation, Preparation } from './compilation.js'

/** Passes of a source tell whether they changed anything. */
export interface PreparingPass extends Pass<Preparation, boolean> {
  /** What the outputs may then deviate by, relative to the largest. */
  readonly tolerance: number
}

/** What float32 arithmetic leaves open when weights are unfolded: as in prove.ts. */
const TOLERANCE = RELATIVE_ERROR_MAX

/**
 * float16 keeps 11 bits: each of some 100 operators in a row rounds by 2^-12 on average, at random; a wrong channel
 * shows as 1e-1 and more.
 */
const FLOAT16_TOLERANCE = 2e-2

/** From what people have to a graph whose batch norms stand in the open, in float32. */
export const PREPARING: readonly PreparingPass[] = [
  {
    name: 'load',
    file: 'source/external-data.ts',
    does: 'weights that lie in files beside the model join it',
    requires: [],
    ensures: [invariant.holdsItsData],
    tolerance: TOLERANCE,
    run: ({ model, source }) => loadExternalData(model, dirname(source.path))
  },
  {
    name: 'inline',
    file: 'source/inline-functions.ts',
    does: 'calls of functions that hold a batch norm become their nodes',
    requires: [],
    ensures: [invariant.callsNoBatchNorm],
    tolerance: TOLERANCE,
    run: ({ model }) => inlineFunctions(model)
  },
  {
    name: 'widen',
    file: 'source/widen-float16.ts',
    does: 'a float16 network becomes the float32 network that computes the same',
    requires: [invariant.holdsItsData],
    ensures: [invariant.computesInFloat32],
    tolerance: FLOAT16_TOLERANCE,
    run: ({ model }) => widenFloat16(model)
  },
  {
    name: 'evaluate',
    file: 'source/evaluate-constants.ts',
    does: 'what depends on no input is computed once',
    requires: [invariant.holdsItsData, invariant.computesInFloat32],
    ensures: [invariant.namesItsNumbers],
    tolerance: TOLERANCE,
    run: ({ model }) => evaluateConstants(model)
  },
  {
    name: 'open',
    file: 'source/open-reshapes.ts',
    does: 'the one computed size of a Reshape becomes what is left over',
    requires: [invariant.holdsItsData, invariant.namesItsNumbers],
    ensures: [],
    tolerance: TOLERANCE,
    run: ({ model }) => openReshapes(model)
  },
  {
    name: 'split',
    file: 'source/split-sequences.ts',
    does: 'a list that is only taken apart again becomes a Split',
    requires: [invariant.holdsItsData, invariant.namesItsNumbers],
    ensures: [],
    tolerance: TOLERANCE,
    run: ({ model }) => splitSequences(model)
  },
  {
    name: 'restore',
    file: 'source/restore-batch-norms.ts',
    does: 'batch norms that were folded away or frozen at export come back, with a reference state',
    requires: [
      invariant.holdsItsData, invariant.callsNoBatchNorm, invariant.computesInFloat32, invariant.namesItsNumbers
    ],
    ensures: [invariant.hasItsReference],
    tolerance: TOLERANCE,
    run: async ({ model, source: { origin, statePath } }) => {
      if (origin !== 'reference-state') return false
      await restoreBatchNorms(model, statePath!)
      return true
    }
  },
  {
    name: 'insert',
    file: 'source/insert-batch-norms.ts',
    does: 'an identity goes behind every convolution, where asked for',
    requires: [invariant.callsNoBatchNorm, invariant.computesInFloat32, invariant.namesItsNumbers],
    ensures: [invariant.isNormalised],
    tolerance: TOLERANCE,
    run: ({ model, source: { origin } }) => {
      if (origin !== 'inserted') return false
      insertBatchNorms(model)
      return true
    }
  }
]

/** What a plan is made from. They refuse by themselves what was never prepared. */
export const ANALYSING: ReadonlyArray<Pass<Compilation>> = [
  {
    name: 'read',
    file: 'read-batch-norms.ts',
    does: 'finds every batch norm and its four parameters',
    requires: [],
    ensures: [invariant.isBoundBySlot],
    run: (work) => { work.reading = readModel(work.model) }
  },
  {
    name: 'probe',
    file: 'probe.ts',
    does: 'runs the model once, to learn the shapes that batch norms work on',
    requires: [invariant.isBoundBySlot],
    ensures: [invariant.isMeasured],
    run: async (work) => {
      work.probe = await probeModel(work.model, work.reading.batchNorms.sites, work.options.samples)
    }
  },
  {
    name: 'stem',
    file: 'stem.ts',
    does: 'what no batch norm comes before becomes a small graph that tells what a picture looks like',
    requires: [invariant.isMeasured],
    ensures: [],
    run: (work) => { work.stem = stemOf(work.prepared.bytes, work.probe.activations) }
  }
]

export const PLAN: Pass<Compilation> = {
  name: 'plan',
  file: 'plan.ts',
  does: 'decides which batch norms are folded, affine or generic, within the bytes of the budget',
  requires: [invariant.isMeasured],
  ensures: [invariant.isPlanned],
  run: (work) => { work.plan = work.makePlan() }
}

/** One attempt. A pass that gives back AGAIN has learned something, and the attempt begins anew. */
export const ROUND: ReadonlyArray<Pass<Compilation>> = [
  PLAN,
  {
    name: 'lower',
    file: 'lower-batch-norms.ts',
    does: 'batch norms become convolutions full of sentinels, or nodes with inputs',
    requires: [invariant.isPlanned],
    ensures: [invariant.isSwitchable, invariant.holdsEveryPort],
    run: lower
  },
  {
    name: 'optimise',
    file: 'optimise.ts',
    does: 'ONNX Runtime\'s own optimisation, for this processor',
    requires: [invariant.isSwitchable, invariant.holdsEveryPort],
    ensures: [invariant.givesTheSame],
    run: async (work) => { work.model = await optimise(work.model, work.folder) }
  },
  {
    name: 'promote',
    file: 'promote-ports.ts',
    does: 'sentinels are found again and become inputs that a bank fills',
    requires: [invariant.givesTheSame],
    ensures: [invariant.isFilled, invariant.givesTheSame],
    run: promote
  },
  {
    name: 'externalise',
    file: 'externalise-weights.ts',
    does: 'weights go to one file that every session maps',
    requires: [invariant.isFilled],
    ensures: [invariant.sharesItsWeights],
    run: ({ model, folder }) => writeSharing(model, folder)
  },
  {
    name: 'prove',
    file: 'prove.ts',
    does: 'compares with the original under the model\'s own and random banks, and row by row',
    requires: [invariant.isFilled, invariant.sharesItsWeights],
    ensures: [invariant.isProven],
    run: prove
  },
  {
    name: 'measure',
    file: 'measure-run.ts',
    does: 'counts the memory that a run takes',
    requires: [invariant.isProven],
    ensures: [],
    run: async (work) => { work.runBytes = await measureRun(subjectOf(work), work.folder) }
  },
  {
    name: 'verify',
    file: 'source/verify-prepared.ts',
    does: 'compares what preparing changed with the file itself',
    requires: [],
    ensures: [],
    run: ({ prepared, options }) => verifyPrepared(prepared, options.samples)
  },
  {
    name: 'write',
    file: 'write-compiled.ts',
    does: 'completes the artefact',
    requires: [invariant.isProven],
    ensures: [],
    run: writeCompiled
  }
]

/** All passes in order; a pass's number is its place, counted from 1. */
export const PASSES: ReadonlyArray<Omit<Pass<never>, 'run'>> = [...PREPARING, ...ANALYSING, ...ROUND]

/** Works on a copy of the model, which later rounds may need anew. */
function lower (work: Compilation): void {
  work.model = parseModel(work.prepared.bytes)
  const index = indexGraph(work.model.graph)
  work.ports = lowerBatchNorms(work.model, readBatchNorms(index).sites.map((site, at) => {
    const { kind } = work.plan.sites[at]!
    const conv = kind === 'fold' ? findFoldableConv(index, site) : undefined
    return { site, kind, ...(conv === undefined ? {} : { conv }) }
  }))
}

/** Lost ports, and a padding that makes the plan dearer than the budget, ask for another round. */
function promote (work: Compilation): typeof AGAIN | undefined {
  const { model, ports, plan, lessons, reading: { batchNorms } } = work
  const promoted = promotePorts(model, ports, batchNorms.layers)
  if ('lostSites' in promoted) {
    learnLost(lessons, promoted.lostSites)
    return AGAIN
  }
  work.promoted = promoted
  if (work.bankBytes <= work.budgetBytes) return undefined
  learnCosts(lessons, plan, promoted)
  const next = work.makePlan()
  return plan.sites.some(({ kind }, at) => kind !== next.sites[at]!.kind) ? AGAIN : undefined
}

/** A graph that computes something else is lowered generically; when it was already, there is no artefact. */
async function prove (work: Compilation): Promise<typeof AGAIN | undefined> {
  const { prepared } = work
  work.proof = await proveCompiled({ ...subjectOf(work), originalWith: (bank) => withBank(prepared.bytes, bank) })
  const { maxRelativeError } = work.proof
  if (maxRelativeError <= RELATIVE_ERROR_MAX) return undefined
  if (learnWrong(work.lessons)) return AGAIN
  throw compilerErrors.COMPILE_PROOF_FAILED(
    'the compiled graph does not compute what the original computes, in any lowering',
    { expected: RELATIVE_ERROR_MAX, received: maxRelativeError }
  )
}

function subjectOf ({ folder, reading: { batchNorms }, probe, promoted }: Compilation) {
  return {
    compiledPath: join(folder, GRAPH_FILE),
    layout: promoted.layout,
    bankInputs: promoted.inputs,
    inputs: probe.inputs,
    outputs: probe.outputs,
    samples: probe.samples,
    ownBank: batchNorms.ownBank
  }
}
