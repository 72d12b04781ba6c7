/** Models that an exporter has changed, and the state_dict by which they are brought back. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { bytesOf } from '#src/base/bytes.js'
import { serializeSafetensors } from '#src/bank/formats/safetensors.js'
import { readArtefact, type Artefact } from '#src/compiler/artefact.js'
import { compileSource } from '#src/compiler/pipeline.js'
import { relativeError } from '#src/compiler/prove.js'
import { serializeModel, type OnnxModel } from '#src/onnx/model.js'
import { DataType, dimsOf, float32Tensor, readFloat32 } from '#src/onnx/tensor.js'
import { TOLERANCE } from './compile.js'
import { temporaryFolder } from './folders.js'
import { runArtefact } from './run-artefact.js'
import type { Bank } from '#src/bank/bank.js'
import type { ModelSource } from '#src/compiler/source/model-source.js'
import type { TestContext } from 'node:test'

/** The state_dict: every float initializer under its name. */
export function stateOf ({ graph }: OnnxModel, rename = (name: string) => name): Uint8Array {
  return serializeSafetensors(graph.initializer.filter(({ dataType }) => dataType === DataType.FLOAT).map((tensor) => {
    return { name: rename(tensor.name), dtype: 'F32' as const, shape: dimsOf(tensor), bytes: bytesOf(readFloat32(tensor)) }
  }), new Map())
}

/** Makes the batch norms `bn1`, `bn2`, … of four channels as they are before any training, and all alike. */
export function freshen ({ graph }: OnnxModel): void {
  for (const tensor of graph.initializer) {
    const [, suffix] = /^bn\d\.(\w+)$/.exec(tensor.name) ?? []
    if (suffix === undefined) continue
    const value = suffix === 'weight' || suffix === 'running_var' ? 1 : 0
    Object.assign(tensor, float32Tensor(tensor.name, [4], new Float32Array(4).fill(value)))
  }
}

export async function writeTemporary (t: TestContext, name: string, bytes: Uint8Array): Promise<string> {
  const path = join(await temporaryFolder(t), name)
  await writeFile(path, bytes)
  return path
}

export async function compileFrom (t: TestContext, source: ModelSource): Promise<Artefact> {
  const folder = await temporaryFolder(t)
  await compileSource(source, folder, { foldBudget: 1, samples: [] })
  return await readArtefact(folder)
}

export async function compileWithState (t: TestContext, model: OnnxModel, state: Uint8Array): Promise<Artefact> {
  const path = await writeTemporary(t, 'model.onnx', serializeModel(model))
  return await compileFrom(t, {
    path, origin: 'reference-state', statePath: await writeTemporary(t, 'state.safetensors', state)
  })
}

/** Demands the same outputs under every one of the banks. */
export async function assertSameOutputs (actual: Artefact, expected: Artefact, banks: readonly Bank[]): Promise<void> {
  for (const bank of banks) {
    const [a, b] = [Object.values(await runArtefact(actual, bank)), Object.values(await runArtefact(expected, bank))]
    assert.ok(relativeError(a[0]!, b[0]!) <= TOLERANCE)
  }
}
