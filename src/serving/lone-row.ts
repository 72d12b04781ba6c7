/** One row that runs alone: a tile, or a trial of a model or a bank. */
import { takesPictures } from '../models/manifest.js'
import { bankKey, type BankToRun } from './banks-to-run.js'
import type { Tensors } from '../ort/rows.js'
import type { Job } from '../runtime/job.js'
import type { ReadyModel } from './model-states.js'

/** In whose turn requests for a domain wait. */
export function turnOf (model: string, domain: string): string {
  return `${model}@${domain}`
}

/** Waits in the turn of the domain, '' for trials of the model itself; gives what answers are made of, or `wanted`. */
export function loneRow (
  model: ReadyModel, domain: string, { folded, digest }: BankToRun, feeds: Tensors,
  wanted = usualOutputs(model)
): Job {
  return {
    turnOf: turnOf(model.entry.manifest.name, domain),
    model: model.served,
    bankKey: bankKey(model, digest),
    bank: folded,
    rows: 1,
    feeds,
    wanted,
    runKey: undefined,
    keeps: model.memory.keepsOf(feeds)
  }
}

/** The output that a picture's answer is made from; of a model for tensors all. */
function usualOutputs ({ entry: { manifest }, artefact }: ReadyModel): string[] {
  return takesPictures(manifest) ? [manifest.output.name] : artefact.outputs.map(({ name }) => name)
}
