/**
 * What a version must show before requests get it: finite outputs for a sample, and the expected ones for the goldens
 * of its domain, where it has some.
 *
 * Trials pass by the limits of the queue: whoever rolls back under a flood must not be refused by it. They go in one
 * after another, in the turn of the model itself, so that they take no more than any domain would.
 */
import { sha256 } from '../../base/digest.js'
import { sampleFeeds } from '../../compiler/sample-inputs.js'
import { rowShapes, usualShape } from '../../models/manifest.js'
import { concatenateRows, sliceRows, type Tensors } from '../../ort/rows.js'
import { servingErrors } from '../errors.js'
import { checkGoldens, invalid, parseGoldens, serializeGoldens, type Goldens } from './goldens.js'
import { loneRow } from '../lone-row.js'
import { numbersOf } from '../tensor-numbers.js'
import type { PreprocessingOverrides } from '../../models/preprocessing.js'
import type { PlainTensor } from '../../ort/session.js'
import type { InferencePool } from '../../runtime/pool.js'
import type { BankStore, DomainRecord, ExpectedRevision, GateRecord, PassedGate } from '../../store/bank-store.js'
import type { BankToRun } from '../banks-to-run.js'
import type { ReadyModel } from '../model-states.js'

const SAMPLE_SEED = 17

/** Of each network the sample of its last trial: most trials of it are of the same shapes. */
const lastSamples = new WeakMap<ReadyModel['artefact'], { shapesText: string, feeds: Tensors }>()

/** What trials need. */
export interface TrialNeeds {
  pool: Pick<InferencePool, 'submit' | 'keepOpen'>
  store: Pick<BankStore, 'domain' | 'readGate'>
  /** Rows that may share a run. */
  runRows: number
}

/** Where a candidate went wrong first, as an error tells it. */
export interface GateFault {
  output: string
  row: number
  /** Of the value within its row. */
  index: number
  expected: number | string
  received: number | string
  /** Values that are wrong, of all. */
  wrong: number
  values: number
}

export interface Verdict {
  passed: Exclude<PassedGate, undefined>
  fault?: GateFault
}

/** Rejects with STORE_CORRUPT for a gate that is lost, and with what the pool rejects with. */
export async function tryCandidate (
  needs: TrialNeeds, model: ReadyModel, domain: string, bank: BankToRun, preprocessing?: PreprocessingOverrides
): Promise<Verdict> {
  const { manifest } = model.entry
  const gate = needs.store.domain(manifest.name, domain)?.gate
  const file = gate === undefined ? undefined : await needs.store.readGate(manifest.name, domain)
  const passed = file === undefined ? null : sha256(file)
  const fault = notFinite(await runRows(needs, model, bank, sampleOf(model, domain, preprocessing), 1))
  if (fault !== undefined || file === undefined) return { passed, ...(fault === undefined ? {} : { fault }) }
  const goldens = parseGoldens(file)
  const rows = checkGoldens(model, goldens)
  const outputs = await runRows(needs, model, bank, goldens.inputs, rows)
  const wrong = notFinite(outputs) ?? firstDifference(outputs, goldens.expected, gate!)
  return { passed, ...(wrong === undefined ? {} : { fault: wrong }) }
}

/** Says which version is not let in, and why. */
export function gateFailed (model: string, domain: string, version: number, fault: GateFault): Error {
  const { output, row, index, expected, received } = fault
  return servingErrors.GATE_FAILED(
    `version ${version} of domain "${domain}" is stored, but requests do not get it: value ${index} of row ${row} of ` +
    `output "${output}" is ${received}, not ${expected}`, { model, domain, version, ...fault }
  )
}

export type GateRules = Pick<GateRecord, 'absolute' | 'relative'>

/**
 * Stores goldens with a domain, after they have run once: under the model's own bank their outputs must have the
 * shapes that are expected. Throws what `checkGoldens` and the store throw, and GATE_INVALID for inputs that the graph
 * refuses.
 */
export async function storeGate (
  needs: TrialNeeds & { store: Pick<BankStore, 'setGate'> }, model: ReadyModel, domain: string, goldens: Goldens,
  rules: GateRules, bank: BankToRun,
  expected?: ExpectedRevision
): Promise<DomainRecord> {
  const rows = checkGoldens(model, goldens)
  const outputs = await runRows(needs, model, bank, goldens.inputs, rows).catch((cause: unknown) => {
    if ((cause as { code?: string }).code !== 'ORT_RUN_FAILED') throw cause
    throw invalid('the model does not take its inputs', 'inputs that run', (cause as Error).message)
  })
  for (const [name, { dims }] of Object.entries(goldens.expected)) {
    const received = outputs[name]!.dims
    if (received.join() !== dims.join()) throw invalid(`"expected.${name}" has another shape`, received, dims)
  }
  const file = serializeGoldens(goldens)
  return await needs.store.setGate(model.entry.manifest.name, domain, { file, rows, ...rules }, expected)
}

function sampleOf (model: ReadyModel, domain: string, preprocessing?: PreprocessingOverrides): Tensors {
  const { entry: { manifest }, artefact } = model
  // A task without a size takes any: the smallest that the model was proven with stands for all.
  const shapes = manifest.task === 'classification'
    ? { [manifest.input.name]: usualShape(manifest, domain, preprocessing) }
    : rowShapes(manifest, 'proven')[0]!
  const shapesText = JSON.stringify(shapes)
  let sample = lastSamples.get(artefact)
  if (sample?.shapesText !== shapesText) {
    sample = { shapesText, feeds: sampleFeeds(artefact.inputs, shapes, 1, SAMPLE_SEED) }
    lastSamples.set(artefact, sample)
  }
  // A run takes the memory of its feeds away.
  return structuredClone(sample.feeds)
}

async function runRows (
  { pool, runRows: runRowsMax }: TrialNeeds, model: ReadyModel, bank: BankToRun, feeds: Tensors, rows: number
): Promise<Tensors> {
  const wanted = model.artefact.outputs.map(({ name }) => name)
  const partRows = model.artefact.proof.isRowInvariant ? runRowsMax : rows
  const results: Tensors[] = []
  await pool.keepOpen(async () => {
    for (let first = 0; first < rows; first += partRows) {
      const count = Math.min(partRows, rows - first)
      const part = count === rows ? feeds : sliceRows(feeds, first, count)
      const [result] = await pool.submit([{ ...loneRow(model, '', bank, part, wanted), rows: count }], undefined, true)
      results.push(result!.outputs)
    }
  })
  return results.length === 1 ? results[0]! : concatenateRows(results)
}

function notFinite (outputs: Tensors): GateFault | undefined {
  for (const [output, tensor] of Object.entries(outputs)) {
    const fault = findFault(output, tensor, (value) => Number.isFinite(value) ? undefined : 'a finite number')
    if (tensor.type.startsWith('float') && fault !== undefined) return fault
  }
  return undefined
}

function firstDifference (
  outputs: Tensors, goldens: Tensors, { absolute, relative }: GateRules
): GateFault | undefined {
  for (const [output, golden] of Object.entries(goldens)) {
    const expected = numbersOf(golden)
    const fault = findFault(output, outputs[output]!, (value, at) => {
      const wanted = expected(at)
      return Math.abs(value - wanted) <= absolute + relative * Math.abs(wanted) ? undefined : wanted
    })
    if (fault !== undefined) return fault
  }
  return undefined
}

/** `expectation` gives what should have stood there, for values that are wrong. */
function findFault (
  output: string, tensor: PlainTensor, expectation: (value: number, at: number) => number | string | undefined
): GateFault | undefined {
  const valueAt = numbersOf(tensor)
  const { length } = tensor.data
  const perRow = tensor.dims.slice(1).reduce((product, size) => product * size, 1)
  let fault: GateFault | undefined
  for (let at = 0; at < length; at++) {
    const received = valueAt(at)
    const expected = expectation(received, at)
    if (expected === undefined) continue
    fault ??= {
      output,
      row: Math.floor(at / perRow),
      index: at % perRow,
      expected,
      received: Number.isFinite(received) ? received : String(received),
      wrong: 0,
      values: length
    }
    fault.wrong++
  }
  return fault
}
