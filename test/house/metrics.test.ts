/**
 * What is told to Prometheus and Grafana agrees with the catalogue of metrics. docs/metrics.md is written by
 *
 *   UPDATE_DOCUMENTS=1 npm test
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import { OVERFLOW_LABEL, type Stage } from '#src/observability/metrics.js'
import { assertDocument, readDocument } from '../support/documents.js'
import { metricCatalogue, queryableNames } from '../support/metric-catalogue.js'
import { faultsOfQuery, labelsOfQuery } from '../support/promql.js'

/** What the scraping Prometheus adds to every sample. */
const TARGET_LABELS = ['job', 'instance']

/** Prometheus's own: did the last scrape succeed. */
const names = new Map([...queryableNames(), ['up', new Set<string>()] as const])

/** Labels whose values are few and known. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  stage: ['read', 'decode', 'queue', 'infer', 'encode', 'total'] satisfies Stage[],
  outcome: ['ok', 'error', 'hit', 'miss'],
  state: ['loading', 'ready', 'failed'],
  fit: ['good', 'none', 'size']
}

function faultsOf (query: string): string[] {
  const unknown = [...query.matchAll(/(\w+)!?="([^"]*)"/g)].filter(([, label, value]) => VALUES[label!]?.includes(value!) === false)
  return [...faultsOfQuery(query, names, TARGET_LABELS), ...unknown.map(([, label, value]) => `${label} is never ${value}`)]
}

interface Panel {
  title: string
  type: string
  description?: string
  gridPos: { x: number, y: number, w: number, h: number }
  targets?: Array<{ expr: string, legendFormat: string, datasource: { uid: string } }>
}

interface Dashboard {
  uid: string
  panels: Panel[]
  templating: { list: Array<{ name: string, type: string, query: string }> }
}

interface Rule {
  alert: string
  expr: string
  for?: string
  labels: { severity: string }
  annotations: { summary: string, description: string }
}

describe('docs/metrics.md', () => {
  it('is the catalogue', () => {
    const rows = (isOfProcess: boolean) => metricCatalogue()
      .filter(({ name }) => !name.startsWith('bankswitch_') === isOfProcess)
      .map(({ name, type, help, labels }) => `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help.replace(/\.$/, '')} |`)
    const head = ['| name | type | labels | what it is |', '|---|---|---|---|']
    assertDocument('docs/metrics.md', [
      '# Metrics',
      '',
      '`GET /metrics` answers in the text format of Prometheus. Names and labels are stable: dashboards may depend on them.',
      '[grafana-dashboard.json](grafana-dashboard.json) shows them, [alerts.yml](alerts.yml) watches them.',
      '',
      ...head,
      ...rows(false),
      '',
      '- `stage`: `read` (the body arrives), `decode` (it becomes tensors), `queue` (the longest that a part waited), `infer` (the sum of',
      '  all runs), `encode` (the answer is written), `total`. Only answered requests count; `bankswitch_http_request_seconds` has all.',
      `- \`domain\`: the first 200 domains asked for have a label of their own until the service restarts, all others share \`${OVERFLOW_LABEL}\`, which`,
      '  no domain can be called.',
      '- `outcome`: of an inference or a build `ok` or `error`, of a lookup `hit` or `miss`. `state`: of a model `loading`, `ready` or `failed`.',
      '- `route` is the pattern, `/v2/models/:model/infer`, or `(none)`.',
      '',
      '## The process',
      '',
      ...head,
      ...rows(true),
      ''
    ].join('\n'))
  })
})

describe('the check of queries', () => {
  it('sees what is wrong', () => {
    assert.deepEqual(faultsOf('sum by (model, le) (rate(bankswitch_stage_seconds_bucket{stage="infer", job="x"}[5m]))'), [])
    assert.deepEqual(faultsOf('rate(bankswitch_stage_seconds[5m])'), ['there is no metric bankswitch_stage_seconds'])
    assert.deepEqual(faultsOf('bankswitch_queue_rows{domain="fog"}'), ['bankswitch_queue_rows has no label domain'])
    assert.deepEqual(faultsOf('sum by (route) (bankswitch_queue_rows)'), ['no metric of the query has the label route'])
    assert.deepEqual(faultsOf('bankswitch_workers_ready < on (model) bankswitch_workers'), ['no metric of the query has the label model'])
    assert.match(faultsOf('sum(bankswitch_queue_rows').join(), /is no PromQL/)
    assert.match(faultsOf('').join(), /is no PromQL/)
    assert.deepEqual(faultsOf('bankswitch_stage_seconds_sum{stage="decoding"}'), ['stage is never decoding'])
  })
})

describe('docs/grafana-dashboard.json', () => {
  const { panels, templating, uid } = JSON.parse(readDocument('docs/grafana-dashboard.json')) as Dashboard
  const variables = new Map(templating.list.map((variable) => [variable.name, variable]))
  const targets = panels.flatMap(({ title, targets = [] }) => targets.map((target) => ({ title, ...target })))

  it('has panels with a title, a description and a place of their own', () => {
    assert.equal(uid, 'bankswitch')
    assert.ok(panels.length >= 12)
    assert.equal(new Set(panels.map(({ title }) => title)).size, panels.length)
    const taken = new Set<string>()
    for (const { title, type, description, targets = [], gridPos: { x, y, w, h } } of panels) {
      assert.ok(x + w <= 24, title)
      for (let column = x; column < x + w; column++) {
        for (let row = y; row < y + h; row++) {
          assert.ok(!taken.has(`${column},${row}`), `${title} lies on another panel`)
          taken.add(`${column},${row}`)
        }
      }
      if (type === 'row') continue
      assert.ok(targets.length > 0, title)
      assert.ok(description!.length > 10, title)
    }
  })

  it('asks only for metrics and labels that there are', () => {
    for (const { title, expr, legendFormat, datasource } of targets) {
      for (const [, variable] of expr.matchAll(/\$(\w+)/g)) assert.ok(variable === '__rate_interval' || variables.has(variable!), `${title}: $${variable}`)
      assert.deepEqual(faultsOf(expr.replaceAll('$__rate_interval', '5m')), [], title)
      // eslint-disable-next-line no-template-curly-in-string
      assert.equal(datasource.uid, '${datasource}')
      const labels = new Set([...labelsOfQuery(expr.replaceAll('$__rate_interval', '5m'), names), ...TARGET_LABELS])
      for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) assert.ok(labels.has(label!), `${title}: {{${label}}}`)
    }
  })

  it('lets one choose a model and instances that there are', () => {
    for (const name of ['job', 'instance', 'model']) {
      const [, query, label] = /^label_values\((.*), (\w+)\)$/.exec(variables.get(name)!.query)!
      assert.equal(label, name)
      assert.deepEqual(faultsOf(query!), [])
    }
  })

  it('shows every metric of the service', () => {
    const shown = targets.map(({ expr }) => expr).join('\n')
    const missing = metricCatalogue().map(({ name }) => name).filter((name) => name.startsWith('bankswitch_') && !shown.includes(name))
    assert.deepEqual(missing, [])
  })
})

describe('docs/alerts.yml', () => {
  const { groups } = parse(readDocument('docs/alerts.yml')) as { groups: Array<{ name: string, rules: Rule[] }> }
  const rules = groups.flatMap(({ rules }) => rules)

  it('has rules that say what is wrong and what to do', () => {
    assert.ok(rules.length >= 8)
    assert.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length)
    for (const { alert, for: duration = '0m', labels, annotations, ...rest } of rules) {
      assert.match(alert, /^Bankswitch([A-Z][a-z]+)+$/)
      assert.match(duration, /^\d+m$/, alert)
      assert.ok(['warning', 'critical'].includes(labels.severity), alert)
      assert.ok(annotations.summary.length > 10 && annotations.description.length > 40, alert)
      assert.deepEqual(Object.keys(rest), ['expr'], alert)
    }
  })

  it('asks only for metrics and labels that there are', () => {
    for (const { alert, expr, annotations } of rules) {
      assert.deepEqual(faultsOf(expr), [], alert)
      const labels = new Set([...labelsOfQuery(expr, names), ...TARGET_LABELS])
      for (const [, label] of Object.values(annotations).join().matchAll(/\$labels\.(\w+)/g)) assert.ok(labels.has(label!), `${alert}: ${label}`)
    }
  })
})
