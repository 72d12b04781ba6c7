/**
 * What switching costs: the compiled graph under a bank, against
 *
 *   fused      the fastest of what one could load per domain, by the rule of `bankswitch bench switch`
 *   BN inputs  the same model with the parameters of its batch norms as graph inputs
 *   Mul + Add  the same model with a Mul and an Add by graph inputs for every batch norm
 *
 * One thread, interleaved, medians of several openings of all sessions.
 *
 *   npm run bench -- switch [--rounds 20 --batch 1,8 --budget 0.05 --only ResNet-18,SR-x2]
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { withCompiled } from '#src/cli/compiled-once.js'
import { markdownTable, quantile, ratiosTo } from '#src/cli/measure.js'
import { measureOpenings, type Opening } from '#src/cli/openings.js'
import { compareWithFastest, contendersOf } from '#src/cli/switch-bench.js'
import { asPrepared } from '#src/compiler/compilation.js'
import { compilePrepared } from '#src/compiler/pipeline.js'
import { openSession } from '#src/ort/session.js'
import { densenet121, efficientnetB0, shufflenetV2, superResolution } from '../test/support/more-networks.js'
import { mobilenetV2, resnet18, resnet50, type Network } from '../test/support/networks.js'
import { mulAndAdd, parametersAsInputs } from './alternatives.js'
import { openBench } from './report.js'

const { values, publish } = openBench('switch', { rounds: '20', batch: '1,8', budget: '0.05', only: '' })

const ROOT = new URL('../../', import.meta.url).pathname

const NETWORKS: Record<string, () => Promise<Network> | Network> = {
  'ResNet-50': resnet50,
  'ResNet-18': resnet18,
  MobileNetV2: mobilenetV2,
  'DenseNet-121': densenet121,
  'EfficientNet-B0': efficientnetB0,
  ShuffleNetV2: shufflenetV2,
  'SR-x2': superResolution,
  'traffic-signs': async () => ({
    bytes: await readFile(join(ROOT, 'models/traffic-signs/model.onnx')), inputDims: [1, 3, 32, 32]
  })
}

/** Small nets are measured more often: a round of theirs is over before the machine has settled. */
const SHORT_MS = 15
const SHORT_FACTOR = 8

/** Rounds of every opening that do not count. */
const WARM_UP = 2

const budget = Number(values.budget)
const rows: string[][] = []
for (const [name, make] of Object.entries(NETWORKS)) {
  if (values.only !== '' && !values.only.split(',').includes(name)) continue
  rows.push(...await benchNetwork(name, await make(), values.batch.split(',').map(Number)))
}
const table = markdownTable([
  'model', 'batch', 'fused ms', 'switched / fused', 'quartiles', 'BN inputs / fused', 'Mul + Add / fused', 'bytes per domain',
  'share of weights', 'max relative error'
], rows)
await publish(`One thread, fold budget ${values.budget}, ${values.rounds} rounds (${SHORT_FACTOR} times as many below ${SHORT_MS} ms):\n\n${table}`)

async function benchNetwork (name: string, { bytes, inputDims }: Network, batches: number[]): Promise<string[][]> {
  const prepared = asPrepared(bytes)
  const options = { foldBudget: budget, samples: [{ '': inputDims }] }
  return await withCompiled((folder) => compilePrepared(prepared, folder, options), async (compiled) => {
    const { artefact, feedsOf } = compiled
    const alternatives = [parametersAsInputs(bytes), mulAndAdd(bytes)].map((other): Opening => ({
      name: 'alternative',
      open: () => openSession(other.bytes, { optimization: 'all' }),
      feedsOf: (rows) => ({ ...feedsOf(rows), ...other.feeds })
    }))
    const contenders = [...contendersOf({ prepared }, compiled), ...alternatives]
    const result: string[][] = []
    for (const batch of batches) {
      const [first] = await measureOpenings(contenders.slice(0, 1), { rows: batch, rounds: 1, warmUp: 1 })
      const timings = await measureOpenings(contenders, {
        rows: batch, rounds: Number(values.rounds) * (first!.medianMs < SHORT_MS ? SHORT_FACTOR : 1), warmUp: WARM_UP
      })
      const others = timings.splice(-alternatives.length)
      const ours = timings.pop()!
      const { baseline, ratios, ratioToFused } = compareWithFastest(timings, ours)
      const bankBytes = artefact.layout.length * 4
      const row = [
        name, String(batch), baseline.medianMs.toFixed(2), `${ratioToFused.toFixed(3)}x`,
        [0.25, 0.75].map((share) => quantile(ratios, share).toFixed(3)).join('–'),
        ...others.map((other) => `${quantile(ratiosTo(baseline, other), 0.5).toFixed(2)}x`),
        bankBytes.toLocaleString('en'), `${(100 * bankBytes / artefact.weightBytes).toFixed(2)} %`,
        artefact.proof.maxRelativeError.toExponential(1)
      ]
      console.error(row.join('  '))
      result.push(row)
    }
    return result
  })
}
