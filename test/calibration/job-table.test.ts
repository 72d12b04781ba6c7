/** Jobs of several servers over one database. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { JobTable, type JobTableOptions } from '#src/calibration/job-table.js'
import { Jobs, type JobWork } from '#src/calibration/jobs.js'
import { newPlace, postgres } from '../store/fixtures/databases.js'
import { hasCode } from '../support/errors.js'
import { gate } from '../support/gate.js'

type Told = Partial<Pick<JobTableOptions, 'findCommit' | 'onLost'>>

async function servers (t: TestContext) {
  const { url, open } = await newPlace(t)
  const { database } = await open()
  const faults: unknown[] = []
  const join = async (given: Told = {}) => {
    const told = { findCommit: () => undefined, onFault: (error: unknown) => { faults.push(error) }, ...given }
    const jobs = await Jobs.open({ records: new JobTable({ database, ...told }), ...told })
    t.after(() => jobs.close())
    return jobs
  }
  const sql = async (text: string, values: unknown[] = []) => await (await postgres()).ask(url, text, values)
  return { join, sql, faults, a: await join(), b: await join() }
}

/** Work that goes on until it is stopped. */
function patient (): { work: JobWork, begun: Promise<void> } {
  const { reached, pass } = gate()
  return {
    begun: reached,
    work: async ({ signal, onProgress }) => {
      onProgress(0.25)
      void pass()
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
      signal.throwIfAborted()
    }
  }
}

describe('jobs over one database', () => {
  it('are told by every server, whoever runs them', async (t) => {
    const { a, b } = await servers(t)
    const { id } = await a.submit({ domain: 'night' }, async () => ({ version: 3 }))
    await a.ended(id)
    const { id: second } = await b.submit({ domain: 'day' }, async () => { throw new Error('why') })
    await b.ended(second)
    for (const jobs of [a, b]) {
      assert.deepEqual((await jobs.find(id)).result, { version: 3 })
      assert.equal((await jobs.find(second)).state, 'failed')
      assert.deepEqual((await jobs.listAll()).map((job) => job.id), [second, id])
      await assert.rejects(jobs.find('00000000-0000-4000-8000-000000000000'), hasCode('JOB_NOT_FOUND'))
      await assert.rejects(jobs.find('no id at all'), hasCode('JOB_NOT_FOUND'))
    }
    assert.deepEqual(a.list().map((job) => job.id), [id], 'one server runs a job')
  })

  it('are cancelled by every server', async (t) => {
    const { a, b } = await servers(t)
    const { work, begun } = patient()
    const { id } = await a.submit({}, work)
    await begun
    assert.equal((await b.find(id)).state, 'running')
    assert.equal((await b.cancel(id)).state, 'cancelled')
    assert.equal(a.get(id).state, 'cancelled')
    await assert.rejects(b.cancel('00000000-0000-4000-8000-000000000000'), hasCode('JOB_NOT_FOUND'))
    await assert.rejects(b.cancel('no id at all'), hasCode('JOB_NOT_FOUND'))
  })

  it('are told as lost when their server has been silent for long, and commit no more', async (t) => {
    const { a, b, sql, join } = await servers(t)
    const lost: string[] = []
    const { reached, pass, open: goOn } = gate()
    const { id } = await a.submit({ domain: 'night' }, async ({ beginCommit }) => {
      await pass()
      await beginCommit({ digest: 'x' })
      return 'committed'
    })
    await reached
    assert.equal((await b.find(id)).state, 'running')
    await sql("UPDATE bankswitch_jobs SET seen_at = now() - interval '1 hour'")
    const c = await join({ onLost: (record) => { lost.push(record.id) } })
    assert.deepEqual(lost, [id])
    for (const jobs of [b, c]) assert.deepEqual([(await jobs.find(id)).state, (await jobs.find(id)).error?.code], ['failed', 'JOB_LOST'])
    goOn()
    const ended = await a.ended(id)
    assert.deepEqual([ended.state, ended.error?.code], ['failed', 'JOB_LOST'])
  })

  it('are told as succeeded if what they were to register is found', async (t) => {
    const { sql, a, join } = await servers(t)
    const { reached, pass, open: goOn } = gate()
    const { id } = await a.submit({}, async ({ beginCommit }) => {
      await beginCommit({ digest: 'there' })
      await pass()
    })
    await reached
    await sql("UPDATE bankswitch_jobs SET seen_at = now() - interval '1 hour'")
    const other = await join({ findCommit: ({ commit }) => commit?.digest === 'there' ? { version: 9 } : undefined })
    const { state, result } = await other.find(id)
    assert.deepEqual([state, result], ['succeeded', { version: 9 }])
    goOn()
    await a.ended(id)
  })
})
