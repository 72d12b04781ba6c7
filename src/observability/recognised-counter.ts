/** What was recognised (`X-Domain: auto`). */
import type { Counter } from 'prom-client'
import type { DomainLabels, LabelsOf } from './watched-metrics.js'

const FITS = ['good', 'none', 'size'] as const

export type CountRecognised = (model: string, domain: string, fit: typeof FITS[number]) => void

export function createRecognisedCounter (
  counter: (name: string, help: string, ...labelNames: string[]) => Counter, labelsOf: LabelsOf
): { count: CountRecognised, forget (labels: DomainLabels): void } {
  const rows = counter(
    'bankswitch_recognised_rows_total',
    'Rows and pictures whose domain was recognised, by the nearest domain and whether they fit it',
    'model', 'domain', 'fit'
  )
  return {
    count: (model, domain, fit) => rows.inc({ model, domain: labelsOf(model, domain).domain, fit }),
    forget (labels) {
      for (const fit of FITS) rows.remove({ ...labels, fit })
    }
  }
}
