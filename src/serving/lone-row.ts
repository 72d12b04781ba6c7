/** One row that runs alone: a tile, or a trial of a model or a bank. */
import { bankKey, turnOf } from './inference.js'
import type { FoldedBank } from '../bank/fold.js'
import type { Tensors } from '../ort/rows.js'
import type { Job } from '../runtime/job.js'
import type { ReadyModel } from './served-models.js'

export interface BankToRun {
  folded: FoldedBank
  digest: string
}

/** Waits in the turn of the domain, '' for trials of the model itself; gives the manifest's output if nothing else. */
export function loneRow (
  model: ReadyModel, domain: string, { folded, digest }: BankToRun, feeds: Tensors,
  wanted = [model.entry.manifest.output.name]
): Job {
  return {
    turnOf: turnOf(model.entry.manifest.name, domain),
    model: model.served,
    bankKey: bankKey(model, digest),
    bank: folded,
    rows: 1,
    feeds,
    wanted,
    runKey: undefined
  }
}
