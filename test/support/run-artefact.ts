/** One run of a compiled model under a bank. */
import { packBank } from '#src/bank/pack.js'
import { bankFeeds } from '#src/compiler/prove.js'
import { sampleFeeds } from '#src/compiler/sample-inputs.js'
import { openSession, type PlainTensor } from '#src/ort/session.js'
import type { Bank } from '#src/bank/bank.js'
import type { Artefact } from '#src/compiler/artefact.js'

/** Outputs for two seeded rows of the artefact's first sample. */
export async function runArtefact (artefact: Artefact, bank: Bank, seed = 7): Promise<Record<string, PlainTensor>> {
  const session = await openSession(artefact.graphPath, { optimization: 'disabled' })
  try {
    const feeds = sampleFeeds(artefact.inputs, artefact.samples[0]!, 2, seed)
    return await session.run({ ...feeds, ...bankFeeds(artefact.bankInputs, packBank(artefact.layout, bank)) })
  } finally {
    await session.release()
  }
}
