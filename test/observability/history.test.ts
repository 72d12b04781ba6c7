import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { History } from '#src/observability/history.js'

describe('the history of the service', () => {
  it('has latencies by stage and slot, and nothing where there was none', () => {
    let now = 0
    const history = new History(() => now)
    history.observeStage('infer', 10)
    history.observeStage('total', 20)
    history.observeStage('total', 20)
    now = 30_000
    history.observeStage('total', 500)
    assert.deepEqual(history.requests, [2, 0, 1])
    const [first, none, last] = history.stage('total').p50Ms
    assert.ok(first! > 16 && first! < 25 && none === null && last! > 400 && last! < 620, JSON.stringify([first, none, last]))
    assert.deepEqual(history.stage('infer').p99Ms.slice(1), [null, null])
    assert.deepEqual(history.stage('read').p50Ms, [null, null, null])
  })

  it('keeps the highest of each gauge in a slot', (t) => {
    let [now, rows] = [0, 3]
    const history = new History(() => now)
    assert.deepEqual([history.gauges, history.present], [{}, {}])
    t.after(() => history.stop())
    history.start({ rows: () => rows, nothing: () => 0 })
    rows = 9
    history.sample()
    rows = 4
    history.sample()
    now = 30_000
    history.sample()
    assert.deepEqual(history.gauges, { rows: [9, null, 4], nothing: [0, null, 0] })
    assert.deepEqual(history.present, { rows: 4, nothing: 0 })
  })
})
