/**
 * Traces, where the settings ask for them. Whoever does not pays nothing: the tracing packages are imported only when
 * `openTracing` has an address to send to.
 */
import type { Logger } from './logger.js'

/** Times are those of performance.now(). */
export interface TracedStage {
  name: string
  beginMs: number
  endMs: number
  attributes?: Record<string, string | number>
}

export interface TracedRequest extends TracedStage {
  /** What the request says of the trace that it belongs to. */
  context: { traceparent?: string, tracestate?: string }
  /** Why it failed, where the server is to blame. */
  failure?: string
  stages: readonly TracedStage[]
}

export interface Tracing {
  /** Sends a finished request, sooner or later; the trace's id, or undefined for one that is not in the sample. */
  record (request: TracedRequest): string | undefined
  /** Sends what is left. */
  close (): Promise<void>
}

export interface TracingOptions {
  /** Where a collector takes OTLP over HTTP; undefined for no traces. */
  traceUrl?: string | undefined
  /** Share of the requests without a caller's decision that are traced. */
  traceRatio: number
  version: string
  logger: Logger
}

/** Undefined without an address. */
export async function openTracing (options: TracingOptions): Promise<Tracing | undefined> {
  const { traceUrl } = options
  if (traceUrl === undefined) return undefined
  const { createTracing } = await import('./open-telemetry.js')
  return createTracing({ ...options, traceUrl })
}
