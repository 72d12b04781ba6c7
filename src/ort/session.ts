/**
 * The door to ONNX Runtime.
 *
 * `run` of onnxruntime-node is a synchronous native call that holds its thread for the whole inference, in spite of
 * the promise it returns (js/node/lib/backend.ts): call it in worker threads or in a process of its own. Every session
 * has one intra-op thread; parallelism comes from workers.
 */
import './telemetry-off.js'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { defineErrors } from '../base/errors.js'

export const ortErrors = defineErrors({
  ORT_LOAD_FAILED: 'unsupported',
  ORT_RUN_FAILED: 'invalid'
})

export type TensorType = Tensor.Type
export type TensorData = Tensor.DataTypeMap[TensorType]

export interface PlainTensor {
  type: TensorType
  dims: readonly number[]
  data: TensorData
}

export interface ValueDescription {
  name: string
  type: TensorType
  /** A number, or null where the size varies. */
  dims: ReadonlyArray<number | null>
}

export interface Session {
  readonly inputs: readonly ValueDescription[]
  readonly outputs: readonly ValueDescription[]
  /** Runs once; `wanted` limits the outputs. Throws ORT_RUN_FAILED with the runtime's message. */
  run (feeds: Readonly<Record<string, PlainTensor>>, wanted?: readonly string[]): Promise<Record<string, PlainTensor>>
  /** Ends profiling, if it was on; the file is at the prefix given. */
  endProfiling (): void
  release (): Promise<void>
}

export interface SessionOptions {
  /** `all` lets the runtime fuse and lay out the graph; `disabled` runs it as it is written. */
  optimization: 'all' | 'extended' | 'basic' | 'disabled'
  /** Where the runtime writes the graph it has optimised. */
  optimizedPath?: string
  profilePrefix?: string
  /** Entries of the runtime's session configuration, by their full name. */
  config?: Readonly<Record<string, string>>
  memoryPattern?: boolean
}

/** Only fatal messages: errors come back as exceptions, and warnings tell of layouts we chose on purpose. */
const LOG_SEVERITY_FATAL = 4

/**
 * Opens a model from a path (needed where weights are external) or from bytes.
 * Throws ORT_LOAD_FAILED with the runtime's message.
 */
export async function openSession (model: string | Uint8Array, options: SessionOptions): Promise<Session> {
  const sessionOptions: InferenceSession.SessionOptions = {
    executionProviders: ['cpu'],
    executionMode: 'sequential',
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: LOG_SEVERITY_FATAL,
    graphOptimizationLevel: options.optimization,
    enableMemPattern: options.memoryPattern ?? true,
    ...(options.optimizedPath === undefined ? {} : { optimizedModelFilePath: options.optimizedPath }),
    ...(options.profilePrefix === undefined
      ? {}
      : { enableProfiling: true, profileFilePrefix: options.profilePrefix }),
    ...(options.config === undefined ? {} : { extra: options.config })
  }
  let session: InferenceSession
  try {
    session = typeof model === 'string'
      ? await InferenceSession.create(model, sessionOptions)
      : await InferenceSession.create(model, sessionOptions)
  } catch (cause) {
    throw ortErrors.ORT_LOAD_FAILED(`ONNX Runtime cannot load the model: ${messageOf(cause)}`, {}, cause)
  }
  return wrap(session)
}

function wrap (session: InferenceSession): Session {
  return {
    inputs: session.inputMetadata.map(describe),
    outputs: session.outputMetadata.map(describe),
    async run (feeds, wanted = session.outputNames) {
      let results: InferenceSession.OnnxValueMapType
      try {
        results = await session.run(Object.fromEntries(Object.entries(feeds).map(([name, { type, data, dims }]) => {
          return [name, makeTensor(type, data, dims)]
        })), wanted)
      } catch (cause) {
        throw ortErrors.ORT_RUN_FAILED(`ONNX Runtime refused the input: ${messageOf(cause)}`, {}, cause)
      }
      const plain: Record<string, PlainTensor> = {}
      for (const name of wanted) {
        const { type, dims, data } = results[name] as Tensor
        plain[name] = { type, dims, data: type === 'float16' ? bitPatterns(data as ArrayBufferView) : data }
      }
      return plain
    },
    endProfiling: () => session.endProfiling(),
    release: () => session.release()
  }
}

/** float16 is the type's bits everywhere; the runtime gives a Float16Array where JavaScript has one (Node 24). */
function bitPatterns ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint16Array {
  return new Uint16Array(buffer, byteOffset, byteLength / Uint16Array.BYTES_PER_ELEMENT)
}

function makeTensor (type: TensorType, data: TensorData, dims: readonly number[]): Tensor {
  const tensor = new Tensor(type as 'float32', data as Float32Array, dims)
  // Where JavaScript has a Float16Array, the tensor makes one of the bits, which the runtime's native part cannot read.
  if (type === 'float16') Object.assign(tensor, { cpuData: data })
  return tensor
}

function describe (metadata: InferenceSession.ValueMetadata): ValueDescription {
  if (!metadata.isTensor) {
    throw ortErrors.ORT_LOAD_FAILED(`"${metadata.name}" is no tensor; sequences and maps are not served`)
  }
  return {
    name: metadata.name,
    type: metadata.type,
    dims: metadata.shape.map((size) => typeof size === 'number' ? size : null)
  }
}

function messageOf (cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
