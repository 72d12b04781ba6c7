import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createBoundedLabels, createMetrics, OVERFLOW_LABEL, type Metrics } from '#src/observability/metrics.js'

const DOMAIN_LABELS_MAX = 200

/** Names are public API: a change here is a change for every dashboard. */
const CATALOGUE: Record<string, 'counter' | 'gauge' | 'histogram'> = {
  bankswitch_http_requests_total: 'counter',
  bankswitch_http_request_seconds: 'histogram',
  bankswitch_build_info: 'gauge',
  bankswitch_inference_requests_total: 'counter',
  bankswitch_inference_rows_total: 'counter',
  bankswitch_stage_seconds: 'histogram',
  bankswitch_run_rows: 'histogram',
  bankswitch_bank_lookups_total: 'counter',
  bankswitch_bank_evictions_total: 'counter',
  bankswitch_worker_restarts_total: 'counter',
  bankswitch_dropped_requests_total: 'counter',
  bankswitch_drift_rows_total: 'counter',
  bankswitch_drift_alarms_total: 'counter',
  bankswitch_drifting: 'gauge',
  bankswitch_drift_e_value: 'gauge',
  bankswitch_candidates: 'gauge',
  bankswitch_bank_registrations_total: 'counter',
  bankswitch_shadow_rows_total: 'counter',
  bankswitch_shadow_disagreeing_rows_total: 'counter',
  bankswitch_shadow_relative_difference_last: 'gauge',
  bankswitch_recognised_rows_total: 'counter',
  bankswitch_queue_rows: 'gauge',
  bankswitch_queue_rows_max: 'gauge',
  bankswitch_queue_domains: 'gauge',
  bankswitch_workers: 'gauge',
  bankswitch_workers_ready: 'gauge',
  bankswitch_workers_busy: 'gauge',
  bankswitch_workers_stuck: 'gauge',
  bankswitch_cached_banks: 'gauge',
  bankswitch_cached_bank_bytes: 'gauge',
  bankswitch_worker_banks: 'gauge',
  bankswitch_worker_bank_bytes: 'gauge',
  bankswitch_hot_builds_total: 'counter',
  bankswitch_hot_rows_total: 'counter',
  bankswitch_hot_banks: 'gauge',
  bankswitch_hot_bytes: 'gauge',
  bankswitch_store_age_seconds: 'gauge',
  bankswitch_body_bytes: 'gauge',
  bankswitch_body_bytes_max: 'gauge',
  bankswitch_answer_bytes: 'gauge',
  bankswitch_answer_bytes_max: 'gauge',
  bankswitch_picture_bytes: 'gauge',
  bankswitch_picture_bytes_max: 'gauge',
  bankswitch_models: 'gauge'
}

const gauges = {
  queueRows: () => 1,
  workersReady: () => 2,
  workersStuck: () => 0,
  workersBusy: () => 3,
  cachedBanks: () => 4,
  cachedBankBytes: () => 5,
  queueRowsMax: () => 6,
  queueDomains: () => 7,
  workers: () => 8,
  workerBanks: () => 9,
  workerBankBytes: () => 10,
  hotBanks: () => 11,
  hotBytes: () => 12,
  storeAgeSeconds: () => 13.5,
  models: () => [{ state: 'ready' as const }, { state: 'failed' as const }, { state: 'ready' as const }]
}

/** The samples of one metric as they are scraped: name and labels -> value. */
async function samplesOf ({ registry }: Metrics, name: string): Promise<Record<string, number>> {
  const lines = (await registry.metrics()).split('\n')
  const samples = lines.filter((line) => line.startsWith(name) && /^(_bucket|_sum|_count)?[{ ]/.test(line.slice(name.length)))
  return Object.fromEntries(samples.map((line) => {
    const space = line.lastIndexOf(' ')
    return [line.slice(name.length, space), Number(line.slice(space + 1))]
  }))
}

describe('the catalogue', () => {
  test('is what the registry exposes, with type and help', async () => {
    const metrics = createMetrics()
    metrics.setGauges(gauges)
    const text = await metrics.registry.metrics()
    const types = [...text.matchAll(/^# TYPE (\S+) (\w+)$/gm)].map(([, name, type]) => [name!, type!] as const)
    const own = types.filter(([name]) => name.startsWith('bankswitch_'))
    assert.deepEqual(Object.fromEntries(own), CATALOGUE)
    const others = types.map(([name]) => name).filter((name) => !name.startsWith('bankswitch_'))
    assert.ok(others.includes('process_resident_memory_bytes'), 'figures of the process come with them')
    assert.deepEqual(others.filter((name) => !/^(process|nodejs)_/.test(name)), [], 'by the names that dashboards for Node know')
    for (const name of Object.keys(CATALOGUE)) assert.match(text, new RegExp(`^# HELP ${name} \\S.{5,}$`, 'm'))
  })

  test('names end in their unit, counters in total', () => {
    for (const [name, type] of Object.entries(CATALOGUE)) {
      assert.match(name, /^bankswitch(_[a-z]+)+$/)
      assert.equal(name.endsWith('_total'), type === 'counter')
      if (type === 'histogram') assert.match(name, /_(seconds|rows|bytes)$/)
    }
  })

  test('two services in a process do not share a registry', async () => {
    const [one, other] = [createMetrics(), createMetrics()]
    one.countWorkerRestart()
    assert.deepEqual(await samplesOf(one, 'bankswitch_worker_restarts_total'), { '': 1 })
    assert.deepEqual(await samplesOf(other, 'bankswitch_worker_restarts_total'), { '': 0 })
  })
})

describe('what budgets bound', () => {
  test('is read when it is scraped, each by its name', async () => {
    const metrics = createMetrics()
    const answers = { bytes: 1, bytesMax: 10 }
    metrics.showHeld('answer', answers)
    answers.bytes = 7
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_answer_bytes'), { '': 7 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_answer_bytes_max'), { '': 10 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_picture_bytes'), { '': 0 })
  })
})

describe('drift', () => {
  test('is read when it is scraped, and of domains that share a label the largest is told', async () => {
    const metrics = createMetrics()
    for (let at = 0; at < DOMAIN_LABELS_MAX; at++) metrics.countDrift('signs', `n${at}`, { lookedAt: 1, passedOver: 0, alarms: 0 })
    const shown = [
      { domain: 'n0', isDrifting: false, eValue: 0.5 },
      { domain: 'beyond', isDrifting: true, eValue: 1e6 },
      { domain: 'beyond-too', isDrifting: false, eValue: 0.1 }
    ].map((one) => ({ model: 'signs', ...one }))
    metrics.showDrift(() => shown)
    const labels = (domain: string) => `{model="signs",domain="${domain}"}`
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_drifting'), { [labels('n0')]: 0, [labels(OVERFLOW_LABEL)]: 1 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_drift_e_value'), { [labels('n0')]: 0.5, [labels(OVERFLOW_LABEL)]: 1e6 })
    shown.splice(1, 1)
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_drift_e_value'), { [labels('n0')]: 0.5, [labels(OVERFLOW_LABEL)]: 0.1 })
  })
})

describe('candidates that wait', () => {
  test('are read when they are scraped, by model', async () => {
    const metrics = createMetrics()
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_candidates'), {})
    let count = 2
    metrics.showCandidates(() => [{ model: 'signs', count }])
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_candidates'), { '{model="signs"}': 2 })
    count = 0
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_candidates'), { '{model="signs"}': 0 })
  })
})

describe('counting', () => {
  test('requests by route, method and status, their seconds by route', async () => {
    const metrics = createMetrics()
    metrics.countRequest('/v1/models', 'GET', 200, 0.004)
    metrics.countRequest('/v1/models', 'GET', 200, 40)
    metrics.countRequest('/v1/models', 'PUT', 405, 0.5)
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_http_requests_total'), {
      '{route="/v1/models",method="GET",status="200"}': 2, '{route="/v1/models",method="PUT",status="405"}': 1
    })
    const seconds = await samplesOf(metrics, 'bankswitch_http_request_seconds')
    assert.equal(seconds['_count{route="/v1/models"}'], 3)
    assert.equal(seconds['_sum{route="/v1/models"}'], 40.504)
    assert.equal(seconds['_bucket{le="0.0025",route="/v1/models"}'], 0)
    assert.equal(seconds['_bucket{le="0.005",route="/v1/models"}'], 1)
    assert.equal(seconds['_bucket{le="30",route="/v1/models"}'], 2)
    assert.equal(seconds['_bucket{le="+Inf",route="/v1/models"}'], 3)
  })

  test('rows, stages, runs, banks, restarts', async () => {
    const metrics = createMetrics()
    metrics.countInference('signs', 'fog', 3, 'ok')
    metrics.countInference('signs', 'fog', 2, 'error')
    metrics.observeStage('signs', 'queue', 0.1)
    metrics.observeRun('signs', 8)
    metrics.countBankLookup('hit')
    metrics.countBankLookup('miss')
    metrics.countBankLookup('hit')
    metrics.countBankEviction()
    metrics.countHotBuild('signs', 'ok')
    metrics.countHotRows('signs', 5)
    metrics.countDropped()
    metrics.countRegistration('signs')
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_inference_rows_total'), {
      '{model="signs",domain="fog",outcome="ok"}': 3, '{model="signs",domain="fog",outcome="error"}': 2
    })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_inference_requests_total'), {
      '{model="signs",domain="fog",outcome="ok"}': 1, '{model="signs",domain="fog",outcome="error"}': 1
    })
    assert.equal((await samplesOf(metrics, 'bankswitch_stage_seconds'))['_sum{model="signs",stage="queue"}'], 0.1)
    const runs = await samplesOf(metrics, 'bankswitch_run_rows')
    assert.deepEqual([runs['_bucket{le="4",model="signs"}'], runs['_bucket{le="8",model="signs"}']], [0, 1])
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_bank_lookups_total'), {
      '{outcome="hit"}': 2, '{outcome="miss"}': 1
    })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_bank_evictions_total'), { '': 1 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_hot_builds_total'), { '{model="signs",outcome="ok"}': 1 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_hot_rows_total'), { '{model="signs"}': 5 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_dropped_requests_total'), { '': 1 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_bank_registrations_total'), { '{model="signs"}': 1 })
  })

  test('gauges are read when they are scraped', async () => {
    const metrics = createMetrics()
    let rows = 1
    metrics.setGauges({ ...gauges, queueRows: () => rows })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_queue_rows'), { '': 1 })
    rows = 7
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_queue_rows'), { '': 7 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_workers_ready'), { '': 2 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_workers_busy'), { '': 3 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_cached_banks'), { '': 4 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_cached_bank_bytes'), { '': 5 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_queue_rows_max'), { '': 6 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_queue_domains'), { '': 7 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_workers'), { '': 8 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_worker_banks'), { '': 9 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_worker_bank_bytes'), { '': 10 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_hot_banks'), { '': 11 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_hot_bytes'), { '': 12 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_store_age_seconds'), { '': 13.5 })
    assert.deepEqual(await samplesOf(metrics, 'bankswitch_models'), {
      '{state="loading"}': 0, '{state="ready"}': 2, '{state="failed"}': 1
    })
  })

  test('the build says its version', async () => {
    assert.deepEqual(await samplesOf(createMetrics('1.2.3'), 'bankswitch_build_info'), {
      [`{version="1.2.3",node="${process.versions.node}"}`]: 1
    })
  })
})

describe('bounded labels', () => {
  test('the first keys keep their labels, all later ones share one', () => {
    const { of: labelOf } = createBoundedLabels(2)
    assert.deepEqual(['a', 'b', 'c', 'a', 'd', 'b'].map((key) => labelOf(key, `label ${key}`)), [
      'label a', 'label b', OVERFLOW_LABEL, 'label a', OVERFLOW_LABEL, 'label b'
    ])
    assert.equal(createBoundedLabels(0).of('a', 'a'), OVERFLOW_LABEL)
  })

  test('keys count, not labels: two models may have a domain of the same name', () => {
    const { of: labelOf } = createBoundedLabels(2)
    assert.deepEqual([labelOf('m1@fog', 'fog'), labelOf('m2@fog', 'fog'), labelOf('m3@fog', 'fog')], [
      'fog', 'fog', OVERFLOW_LABEL
    ])
  })

  test('domains beyond the limit count together', async () => {
    const metrics = createMetrics()
    for (let round = 0; round < 2; round++) {
      for (let domain = 0; domain < DOMAIN_LABELS_MAX + 50; domain++) {
        metrics.countInference('signs', `d${domain}`, 1, 'ok')
      }
    }
    const samples = await samplesOf(metrics, 'bankswitch_inference_rows_total')
    assert.equal(Object.keys(samples).length, DOMAIN_LABELS_MAX + 1)
    assert.equal(samples['{model="signs",domain="d199",outcome="ok"}'], 2)
    assert.equal(samples[`{model="signs",domain="${OVERFLOW_LABEL}",outcome="ok"}`], 100)
  })

  test('a removed domain takes its counts along, and another one has its place', async () => {
    const metrics = createMetrics()
    const shadow = { comparedRows: 1, disagreeingRows: 1, notFiniteRows: 0, droppedRows: 1, failedRows: 1, largestRelativeDifference: 0.5 }
    const count = (model: string, domain: string) => {
      for (const outcome of ['ok', 'error'] as const) metrics.countInference(model, domain, 1, outcome)
      metrics.countShadow(model, domain, shadow)
    }
    for (let domain = 0; domain < DOMAIN_LABELS_MAX; domain++) count('signs', `d${domain}`)
    count('signs', 'new')
    const names = [
      'bankswitch_inference_requests_total', 'bankswitch_inference_rows_total', 'bankswitch_shadow_rows_total',
      'bankswitch_shadow_disagreeing_rows_total', 'bankswitch_shadow_relative_difference_last'
    ]
    const samplesWith = async (label: string) => {
      const all = await Promise.all(names.map((name) => samplesOf(metrics, name)))
      return all.map((samples) => Object.keys(samples).filter((labels) => labels.includes(`domain="${label}"`)).length)
    }
    assert.deepEqual(await samplesWith('d7'), [2, 2, 3, 1, 1])
    assert.deepEqual(await samplesWith('new'), [0, 0, 0, 0, 0])
    metrics.forgetDomain('signs', 'd7')
    metrics.forgetDomain('signs', 'new')
    assert.deepEqual(await samplesWith('d7'), [0, 0, 0, 0, 0])
    count('signs', 'new')
    assert.deepEqual(await samplesWith('new'), [2, 2, 3, 1, 1])
    assert.deepEqual(await samplesWith(OVERFLOW_LABEL), [2, 2, 3, 1, 1])
    assert.deepEqual(await samplesWith('d8'), [2, 2, 3, 1, 1])
  })

  test('a million domains take no more memory than a few', async () => {
    const metrics = createMetrics()
    for (let domain = 0; domain < 1_000_000; domain++) metrics.countInference('signs', `d${domain}`, 1, 'ok')
    const samples = await samplesOf(metrics, 'bankswitch_inference_requests_total')
    assert.equal(Object.keys(samples).length, DOMAIN_LABELS_MAX + 1)
    assert.equal(samples[`{model="signs",domain="${OVERFLOW_LABEL}",outcome="ok"}`], 1_000_000 - DOMAIN_LABELS_MAX)
  })

  test('the overflow label is no name that a domain can have', async () => {
    const { isName } = await import('#src/base/names.js')
    assert.equal(isName(OVERFLOW_LABEL), false)
  })
})
