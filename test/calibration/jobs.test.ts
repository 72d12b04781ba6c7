import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { defineErrors } from '#src/base/errors.js'
import { Jobs, type JobRecord, type JobsOptions, type JobWork } from '#src/calibration/jobs.js'
import { JobFiles } from '#src/calibration/job-files.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'

const testErrors = defineErrors({ TEST_BROKEN: 'invalid' })

interface Gate { opened: Promise<void>, open (): void }

function gate (): Gate {
  let open = () => {}
  const opened = new Promise<void>((resolve) => { open = resolve })
  return { opened, open }
}

async function openJobs (
  t: TestContext, { folder: given, ...more }: Partial<JobsOptions> & { folder?: string } = {}
): Promise<{ jobs: Jobs, folder: string }> {
  const folder = given ?? await temporaryFolder(t)
  return { jobs: await Jobs.open({ findCommit: () => undefined, ...more, records: await JobFiles.open(folder) }), folder }
}

/** Work that says when it has begun and ends, with its signal's reason, when that aborts. */
function patient (): { work: JobWork, begun: Gate } {
  const begun = gate()
  return {
    begun,
    work: async ({ signal }) => {
      begun.open()
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
      signal.throwIfAborted()
    }
  }
}

const onDisk = async (folder: string, id: string) => JSON.parse(await readFile(join(folder, `${id}.json`), 'utf8')) as JobRecord

describe('jobs', () => {
  it('run one after another and keep their results, in memory and on disk', async (t) => {
    const { jobs, folder } = await openJobs(t)
    const [release, order] = [gate(), [] as string[]]
    const first = await jobs.submit({ n: 1 }, async ({ onProgress }) => {
      await release.opened
      onProgress(0.5)
      order.push('first')
      return { answer: 1 }
    })
    const second = await jobs.submit({ n: 2 }, async () => { order.push('second') })
    assert.equal(jobs.get(second.id).state, 'queued')
    release.open()
    const ended = await jobs.ended(second.id)
    assert.deepEqual(order, ['first', 'second'])
    assert.equal(ended.state, 'succeeded')
    assert.deepEqual((await onDisk(folder, first.id)).result, { answer: 1 })
    assert.deepEqual(jobs.list().map(({ id }) => id), [second.id, first.id])
  })

  it('keep the reason of a failure, but not of one that is internal', async (t) => {
    const faults: unknown[] = []
    const { jobs } = await openJobs(t, { onFault: (error) => faults.push(error) })
    const told = await jobs.submit({}, async () => { throw testErrors.TEST_BROKEN('too dark', { expected: 'light' }) })
    assert.deepEqual((await jobs.ended(told.id)).error, { code: 'TEST_BROKEN', kind: 'invalid', message: 'too dark', details: { expected: 'light' } })
    const hidden = await jobs.submit({}, async () => { throw new Error('/secret/path') })
    assert.ok(!JSON.stringify(await jobs.ended(hidden.id)).includes('secret'))
    assert.match(String(faults[0]), /secret/)
  })

  it('are cancelled while they wait or run, and not once they commit', async (t) => {
    const { jobs } = await openJobs(t)
    const running = patient()
    const one = await jobs.submit({}, running.work)
    const two = await jobs.submit({}, async () => assert.fail('a cancelled job does not run'))
    await running.begun.opened
    assert.equal((await jobs.cancel(two.id)).state, 'cancelled')
    assert.equal((await jobs.cancel(one.id)).state, 'cancelled')
    const [committing, release] = [gate(), gate()]
    const three = await jobs.submit({}, async ({ beginCommit }) => {
      await beginCommit({ digest: 'd' })
      committing.open()
      await release.opened
      return 'done'
    })
    await committing.opened
    assert.equal((await jobs.cancel(three.id)).state, 'running')
    release.open()
    assert.equal((await jobs.ended(three.id)).result, 'done')
    assert.equal((await jobs.cancel(three.id)).state, 'succeeded')
  })

  it('do not begin to commit once they are cancelled', async (t) => {
    const { jobs } = await openJobs(t)
    const [begun, release] = [gate(), gate()]
    const { id } = await jobs.submit({}, async ({ beginCommit }) => {
      begun.open()
      await release.opened
      await beginCommit({})
      assert.fail('it has been cancelled')
    })
    await begun.opened
    const cancelled = jobs.cancel(id)
    release.open()
    assert.equal((await cancelled).state, 'cancelled')
  })

  it('wait in a line of bounded length', async (t) => {
    const { jobs } = await openJobs(t, { waitingMax: 2 })
    const running = patient()
    const { id } = await jobs.submit({}, running.work)
    await running.begun.opened
    await Promise.all([jobs.submit({}, async () => {}), jobs.submit({}, async () => {})])
    assert.throws(() => jobs.requireRoom(), hasCode('JOB_QUEUE_FULL'))
    await assert.rejects(jobs.submit({}, async () => {}), hasCode('JOB_QUEUE_FULL'))
    await jobs.cancel(id)
    await jobs.close()
  })

  it('that a stop cuts off are told as lost', async (t) => {
    const { jobs } = await openJobs(t)
    const running = patient()
    const one = await jobs.submit({}, running.work)
    const two = await jobs.submit({}, async () => {})
    await running.begun.opened
    await jobs.close()
    for (const { id } of [one, two]) {
      assert.equal(jobs.get(id).state, 'failed')
      assert.equal(jobs.get(id).error?.code, 'JOB_LOST')
    }
  })

  it('that a crash cut off are told as lost after the restart, unless their commit is found', async (t) => {
    const { folder } = await openJobs(t)
    const record = (id: string, more: Partial<JobRecord>): JobRecord => {
      return { id: `${id}0000000-0000-4000-8000-000000000000`, state: 'running', progress: 0.4, subject: { domain: id }, createdAt: id, ...more }
    }
    const records = [
      record('a', { state: 'queued' }), record('b', {}), record('c', { commit: { digest: 'there' } }),
      record('d', { commit: { digest: 'missing' } }), record('e', { state: 'succeeded', result: 7, endedAt: 'then' })
    ]
    for (const one of records) await writeFile(join(folder, `${one.id}.json`), JSON.stringify(one))
    await writeFile(join(folder, '.tmp-torn'), '{')
    await writeFile(join(folder, `${'f'.repeat(36)}.json`), '{"id":')
    const lost: string[] = []
    const faults: unknown[] = []
    const { jobs } = await openJobs(t, {
      folder,
      findCommit: ({ commit }) => commit?.digest === 'there' ? { version: 3 } : undefined,
      onLost: ({ subject }) => lost.push(String(subject.domain)),
      onFault: (error) => faults.push(error)
    })
    assert.deepEqual(lost, ['a', 'b', 'd'])
    assert.equal(faults.length, 1)
    assert.deepEqual(records.map(({ id }) => jobs.get(id).state), ['failed', 'failed', 'succeeded', 'failed', 'succeeded'])
    assert.deepEqual(jobs.get(records[2]!.id).result, { version: 3 })
    assert.equal((await onDisk(folder, records[0]!.id)).error?.code, 'JOB_LOST')
    assert.ok(!(await readdir(folder)).includes('.tmp-torn'))
  })

  it('that are not there are not found', async (t) => {
    const { jobs } = await openJobs(t)
    assert.throws(() => jobs.get('x'), hasCode('JOB_NOT_FOUND'))
    await assert.rejects(jobs.cancel('x'), hasCode('JOB_NOT_FOUND'))
  })
})
