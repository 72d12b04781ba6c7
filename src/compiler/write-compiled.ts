/** Pass: what was compiled and learned, as an artefact. */
import { writeArtefact } from './artefact.js'
import { writeStem } from './stem.js'
import type { Compilation } from './compilation.js'

/** Graph and weights must lie in the folder already. */
export async function writeCompiled (work: Compilation): Promise<void> {
  const { prepared, folder, reading, probe, plan, promoted, proof, runBytes } = work
  const { batchNorms, fingerprint, weightBytes, convolutions } = reading
  const stem = await writeStem(work.stem, folder)
  await writeArtefact(folder, {
    description: {
      fingerprint,
      origin: prepared.source?.origin ?? 'graph',
      layers: [...batchNorms.layers],
      sites: batchNorms.sites.map(({ layer, node }, at) => ({
        layerKey: layer.key, node: node.name, ...plan.sites[at]!, bankBytes: promoted.siteBytes[at]!
      })),
      inputs: probe.inputs.map(({ name, type, dims }) => ({ name, type, dims: [...dims] })),
      outputs: probe.outputs.map(({ name, type, dims }) => ({ name, type, dims: [...dims] })),
      samples: probe.samples.map((shapes) => {
        return Object.fromEntries(Object.entries(shapes).map(([name, dims]) => [name, [...dims]]))
      }),
      weightBytes,
      convolutions,
      runBytes,
      proof
    },
    stem,
    layout: promoted.layout,
    bankInputs: promoted.inputs,
    ownBank: batchNorms.ownBank
  })
}
