/**
 * Pass: the memory that a run takes, as ONNX Runtime itself counts it: one row of the first sample, on the compiled
 * graph. The runtime tells it in its profile, with every operator: what its arena has given out, and the most it had.
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { packBank } from '../bank/pack.js'
import { openSession } from '../ort/session.js'
import { bankFeeds, type ProofSubject } from './prove.js'
import { sampleFeeds } from './sample-inputs.js'

const SEED = 400

interface ProfileEvent {
  name: string
  args?: { mem_bytes_in_use?: string, mem_in_use_delta?: string, mem_in_use_peak?: string }
}

/** Bytes of activations at the worst moment; `folder` takes the profile for a while. Throws the runtime's errors. */
export async function measureRun (
  { compiledPath, layout, bankInputs, ownBank, inputs, samples }: Omit<ProofSubject, 'outputs' | 'originalWith'>,
  folder: string
): Promise<number> {
  const place = await mkdtemp(join(folder, 'profile-'))
  try {
    const session = await openSession(compiledPath, {
      optimization: 'disabled', memoryPattern: false, profilePrefix: join(place, 'run')
    })
    try {
      const bank = bankFeeds(bankInputs, packBank(layout, ownBank))
      await session.run({ ...sampleFeeds(inputs, samples[0]!, 1, SEED), ...bank })
      session.endProfiling()
    } finally {
      await session.release()
    }
    const [file] = await readdir(place)
    return activationBytes(JSON.parse(await readFile(join(place, file!), 'utf8')) as ProfileEvent[])
  } finally {
    await rm(place, { recursive: true, force: true })
  }
}

/** What was given out before the first operator are weights. */
function activationBytes (profile: readonly ProfileEvent[]): number {
  const told = profile.filter(({ args }) => args?.mem_in_use_peak !== undefined).map(({ args }) => args!)
  const [first] = told
  if (first === undefined) return 0
  const before = Number(first.mem_bytes_in_use) - Number(first.mem_in_use_delta)
  return Math.max(0, ...told.map(({ mem_in_use_peak: peak }) => Number(peak) - before))
}
