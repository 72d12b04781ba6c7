/**
 * Traces by OpenTelemetry, to a collector by OTLP over HTTP (JSON). Only tracing.ts imports this file, and only when
 * traces are wanted.
 *
 * Spans are made when a request is over, with the times that were taken on its way: nothing runs meanwhile that could
 * slow it down. Nothing global is registered, so two services in a process do not meet.
 */
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, type Context, type Span, type Tracer } from '@opentelemetry/api'
import { ExportResultCode, W3CTraceContextPropagator } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  BasicTracerProvider, BatchSpanProcessor, ParentBasedSampler, TraceIdRatioBasedSampler, type SpanExporter
} from '@opentelemetry/sdk-trace-base'
import type { Logger } from './logger.js'
import type { TracedRequest, TracedStage, Tracing, TracingOptions } from './tracing.js'

/** How long a collector may take, and a little more for the processor to hear of it. */
const EXPORT_MS = 5000
const EXPORT_HEARD_MS = 6000

const propagator = new W3CTraceContextPropagator()

export function createTracing (options: TracingOptions & { traceUrl: string }): Tracing {
  const { traceUrl, traceRatio, version, logger } = options
  const exporter = withLog(new OTLPTraceExporter({ url: traceUrl, timeoutMillis: EXPORT_MS }), logger)
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'bankswitch', 'service.version': version }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(traceRatio) }),
    spanProcessors: [new BatchSpanProcessor(exporter, { exportTimeoutMillis: EXPORT_HEARD_MS })]
  })
  const tracer = provider.getTracer('bankswitch', version)
  return {
    record: (request) => record(tracer, request),
    close: () => provider.shutdown().catch((error: unknown) => logger.warn({ err: error }, 'traces could not be sent'))
  }
}

function record (tracer: Tracer, request: TracedRequest): string | undefined {
  const epochMs = Date.now() - performance.now()
  const caller = propagator.extract(ROOT_CONTEXT, request.context, {
    get: (carrier, key) => carrier[key as keyof TracedRequest['context']],
    keys: (carrier) => Object.keys(carrier)
  })
  const span = open(tracer, request, epochMs, caller, SpanKind.SERVER)
  if (!span.isRecording()) return undefined
  const inside = trace.setSpan(caller, span)
  for (const stage of request.stages) {
    open(tracer, stage, epochMs, inside, SpanKind.INTERNAL).end(epochMs + stage.endMs)
  }
  if (request.failure !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: request.failure })
  span.end(epochMs + request.endMs)
  return span.spanContext().traceId
}

function open (
  tracer: Tracer, { name, beginMs, attributes = {} }: TracedStage, epochMs: number, parent: Context, kind: SpanKind
): Span {
  return tracer.startSpan(name, { kind, startTime: epochMs + beginMs, attributes }, parent)
}

/**
 * A collector that cannot be reached costs its traces, never a request or a clean stop: the log tells, and to everyone
 * else it is settled.
 */
function withLog (exporter: OTLPTraceExporter, logger: Logger): SpanExporter {
  return {
    export (spans, done) {
      exporter.export(spans, (result) => {
        if (result.code !== ExportResultCode.SUCCESS) {
          logger.warn({ reason: result.error?.message, spans: spans.length }, 'traces could not be sent')
        }
        done({ code: ExportResultCode.SUCCESS })
      })
    },
    forceFlush: () => exporter.forceFlush(),
    shutdown: () => exporter.shutdown()
  }
}
