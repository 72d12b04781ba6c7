/** A model compiled for one measurement, into a folder that is removed again. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { packBank } from '../bank/pack.js'
import { readArtefact, type Artefact } from '../compiler/artefact.js'
import { bankFeeds } from '../compiler/prove.js'
import { sampleFeeds } from '../compiler/sample-inputs.js'
import type { PlainTensor } from '../ort/session.js'

export const SAMPLE_SEED = 1

export interface CompiledOnce {
  folder: string
  artefact: Artefact
  /** The model's own bank, as inputs of the compiled graph. */
  bank: Record<string, PlainTensor>
  /** Rows of the model's inputs, seeded. */
  feedsOf (rows: number): Record<string, PlainTensor>
}

/** `compile` writes the artefact into the folder that it is given. Rejects with what either function rejects with. */
export async function withCompiled<T> (
  compile: (folder: string) => Promise<unknown>, measure: (compiled: CompiledOnce) => Promise<T>
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'bankswitch-bench-'))
  try {
    await compile(folder)
    const artefact = await readArtefact(folder)
    return await measure({
      folder,
      artefact,
      bank: bankFeeds(artefact.bankInputs, packBank(artefact.layout, artefact.ownBank)),
      feedsOf: (rows) => sampleFeeds(artefact.inputs, artefact.samples[0]!, rows, SAMPLE_SEED)
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
