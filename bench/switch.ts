/**
 * What switching costs: a compiled graph under a bank over ONNX Runtime's own fully fused session of the same model,
 * the fastest thing one could load per domain. One thread, interleaved, medians.
 *
 *   npm run bench:switch [-- --rounds 60 --batch 1,8 --budget 0.05]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { readFile } from 'node:fs/promises'
import { packBank } from '#src/bank/pack.js'
import { readArtefact } from '#src/compiler/artefact.js'
import { compileModel } from '#src/compiler/pipeline.js'
import { bankFeeds } from '#src/compiler/prove.js'
import { sampleFeeds } from '#src/compiler/sample-inputs.js'
import { openSession } from '#src/ort/session.js'
import { mobilenetV2, resnet18, type Network } from '../test/support/networks.js'
import { markdownTable, measure } from '#src/cli/measure.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '60' },
    batch: { type: 'string', default: '1' },
    budget: { type: 'string', default: '0.05' }
  }
})

const ROOT = new URL('../../', import.meta.url).pathname

const networks: Record<string, () => Promise<Network & { input?: string }>> = {
  'ResNet-18': async () => resnet18(),
  MobileNetV2: async () => mobilenetV2(),
  'traffic-signs': async () => ({
    bytes: await readFile(join(ROOT, 'models/traffic-signs/model.onnx')), inputDims: [1, 3, 32, 32], input: 'input'
  })
}

const rows: string[][] = []
for (const [name, make] of Object.entries(networks)) {
  for (const batch of values.batch.split(',').map(Number)) rows.push(await bench(name, await make(), batch))
}
console.log(`${cpus()[0]?.model}, Node ${process.version}, budget ${values.budget}, ${values.rounds} rounds\n`)
console.log(markdownTable([
  'model', 'batch', 'fused ms', 'switched ms', 'switched / fused', 'spread', 'bytes per domain', 'share of weights',
  'max relative error'
], rows))

async function bench (name: string, { bytes, inputDims, input = 'x' }: Network & { input?: string }, batch: number) {
  const folder = await mkdtemp(join(tmpdir(), 'bankswitch-bench-'))
  try {
    const shapes = { [input]: inputDims }
    await compileModel(bytes, folder, { foldBudget: Number(values.budget), samples: [shapes] })
    const artefact = await readArtefact(folder)
    const fused = await openSession(bytes, { optimization: 'all' })
    const switched = await openSession(artefact.graphPath, { optimization: 'disabled' })
    const feeds = sampleFeeds(artefact.inputs, shapes, batch, 1)
    const bank = bankFeeds(artefact.bankInputs, packBank(artefact.layout, artefact.ownBank))
    const [base, ours] = await measure([
      { name: 'fused', run: () => fused.run(feeds) },
      { name: 'switched', run: () => switched.run({ ...feeds, ...bank }) }
    ], Number(values.rounds))
    await fused.release()
    await switched.release()
    const bankBytes = artefact.layout.length * 4
    return [
      name, String(batch), base!.medianMs.toFixed(2), ours!.medianMs.toFixed(2), `${ours!.ratio.toFixed(3)}x`,
      `±${(100 * Math.max(base!.spread, ours!.spread)).toFixed(1)} %`, bankBytes.toLocaleString('en'),
      `${(100 * bankBytes / artefact.weightBytes).toFixed(2)} %`, artefact.proof.maxRelativeError.toExponential(1)
    ]
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
