/** What jobs leave on disk: what a restart finds, what a full or missing disk does, what is thrown away. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { JOB_STATES, Jobs, type JobRecord, type JobsOptions } from '#src/calibration/jobs.js'
import { JobFiles } from '#src/calibration/job-files.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'

async function openJobs (
  t: TestContext, { folder: given, ...more }: Partial<JobsOptions> & { folder?: string } = {}
): Promise<{ jobs: Jobs, folder: string, faults: unknown[] }> {
  const folder = given ?? await temporaryFolder(t)
  const faults: unknown[] = []
  const onFault = (error: unknown) => { faults.push(error) }
  return { jobs: await Jobs.open({ findCommit: () => undefined, onFault, ...more, records: await JobFiles.open(folder) }), folder, faults }
}

const idOf = (number: number) => `${String(number).padStart(8, '0')}-0000-4000-8000-000000000000`

const recordOf = (number: number, more: Partial<JobRecord> = {}): JobRecord => ({
  id: idOf(number), state: 'running', progress: 0.4, subject: { number }, createdAt: new Date(1e12 + number).toISOString(), ...more
})

async function leave (folder: string, ...records: JobRecord[]): Promise<void> {
  for (const record of records) await writeFile(join(folder, `${record.id}.json`), JSON.stringify(record))
}

const onDisk = async (folder: string, id: string) => JSON.parse(await readFile(join(folder, `${id}.json`), 'utf8')) as JobRecord

/** Work that waits until it is let go. */
function held (): { work: () => Promise<string>, begun: Promise<void>, release (): void } {
  let [begin, release] = [() => {}, () => {}]
  const begun = new Promise<void>((resolve) => { begin = resolve })
  const released = new Promise<void>((resolve) => { release = resolve })
  const work = async () => {
    begin()
    await released
    return 'done'
  }
  return { work, begun, release }
}

describe('after a restart', () => {
  it('jobs are listed newest first, whatever the order of their files', async (t) => {
    const folder = await temporaryFolder(t)
    await leave(folder, ...[5, 1, 9, 3].map((number) => recordOf(number, { state: 'succeeded', endedAt: 'then' })))
    const { jobs } = await openJobs(t, { folder })
    assert.deepEqual(jobs.list().map(({ subject }) => subject.number), [9, 5, 3, 1])
  })

  it('only those that had not ended are settled, and the settled ones are left at the next', async (t) => {
    const folder = await temporaryFolder(t)
    const records = JOB_STATES.map((state, number) => recordOf(number, { state }))
    await leave(folder, ...records)
    const lost: number[] = []
    const onLost = ({ subject }: JobRecord) => { lost.push(Number(subject.number)) }
    await openJobs(t, { folder, onLost })
    const { jobs } = await openJobs(t, { folder, onLost })
    assert.deepEqual(lost, [0, 1])
    assert.deepEqual(records.map(({ id }) => jobs.get(id).state), ['failed', 'failed', 'succeeded', 'failed', 'cancelled'])
  })

  it('a job whose commit is found has succeeded with that result, and stays so', async (t) => {
    const folder = await temporaryFolder(t)
    await leave(folder, recordOf(1, { commit: { digest: 'd', version: 4 } }))
    const asked: unknown[] = []
    const { jobs } = await openJobs(t, { folder, findCommit: ({ commit }) => { asked.push(commit); return { version: 4 } } })
    assert.deepEqual(asked, [{ digest: 'd', version: 4 }])
    const { state, progress, result, error } = jobs.get(idOf(1))
    assert.deepEqual([state, progress, result, error], ['succeeded', 1, { version: 4 }, undefined])
    const again = await openJobs(t, { folder, findCommit: () => assert.fail('it is settled') })
    assert.deepEqual(again.jobs.get(idOf(1)), jobs.get(idOf(1)))
  })

  it('a job that noted nothing is not looked for', async (t) => {
    const folder = await temporaryFolder(t)
    await leave(folder, recordOf(1))
    const { jobs } = await openJobs(t, { folder, findCommit: () => assert.fail('there was no commit') })
    assert.equal(jobs.get(idOf(1)).error?.code, 'JOB_LOST')
    assert.equal((await onDisk(folder, idOf(1))).state, 'failed')
  })

  for (const [what, text] of [
    ['nothing', ''], ['half a record', '{"id":"'], ['null', 'null'], ['a list', '[]'], ['a number', '7'], ['no fields', '{}'],
    ['a record of another job', JSON.stringify(recordOf(8))], ['a state of the future', JSON.stringify({ ...recordOf(7), state: 'paused' })],
    ['no time', JSON.stringify({ ...recordOf(7), createdAt: 5 })],
    ['no subject', JSON.stringify({ ...recordOf(7), subject: undefined, commit: { digest: 'x' } })],
    ['a subject that is none', JSON.stringify({ ...recordOf(7), subject: { model: {} }, commit: { digest: 'x' } })],
    ['a commit that is none', JSON.stringify({ ...recordOf(7), commit: null })]
  ] as const) {
    it(`a file that holds ${what} is told, left where it is, and stops nobody`, async (t) => {
      const folder = await temporaryFolder(t)
      await leave(folder, recordOf(1))
      await writeFile(join(folder, `${idOf(7)}.json`), text)
      const { jobs, faults } = await openJobs(t, { folder })
      assert.equal(faults.length, 1)
      assert.deepEqual(jobs.list().map(({ id }) => id), [idOf(1)])
      assert.equal(await readFile(join(folder, `${idOf(7)}.json`), 'utf8'), text)
    })
  }

  it('files of others are left alone, torn ones of its own are cleared away', async (t) => {
    const folder = await temporaryFolder(t)
    for (const name of ['README', 'a.json', `${idOf(1)}.json.bak`, '.tmp-1', '.tmp-2.json']) await writeFile(join(folder, name), '{')
    const { jobs, faults } = await openJobs(t, { folder })
    assert.deepEqual([jobs.list(), faults], [[], []])
    assert.deepEqual((await readdir(folder)).sort(), [`${idOf(1)}.json.bak`, 'README', 'a.json'])
  })

  it('another process\'s folder is not touched', async (t) => {
    const folder = await temporaryFolder(t)
    await leave(folder, recordOf(1))
    await writeFile(join(folder, '.tmp-1'), '{')
    const { jobs } = await openJobs(t, { folder, recovers: false, onLost: () => assert.fail('it may be running') })
    assert.deepEqual(jobs.list(), [])
    assert.equal((await onDisk(folder, idOf(1))).state, 'running')
    assert.ok(existsSync(join(folder, '.tmp-1')))
  })

  it('a folder that cannot be one is told at once', async (t) => {
    const file = join(await temporaryFolder(t), 'file')
    await writeFile(file, '')
    await assert.rejects(openJobs(t, { folder: join(file, 'jobs') }), { code: 'ENOTDIR' })
  })
})

describe('on disk', () => {
  it('a job is there when it is accepted, and says how it stands at every step', async (t) => {
    const { jobs, folder } = await openJobs(t)
    const first = held()
    const one = await jobs.submit({ domain: 'fog' }, first.work)
    const two = await jobs.submit({ domain: 'rain' }, async ({ beginCommit, onProgress }) => {
      onProgress(0.5)
      await beginCommit({ digest: 'd' })
      assert.deepEqual((await onDisk(folder, two.id)).commit, { digest: 'd' }, 'noted before anything is committed')
      return { version: 2 }
    })
    await first.begun
    assert.equal((await onDisk(folder, one.id)).state, 'running')
    const waiting = await onDisk(folder, two.id)
    assert.deepEqual([waiting.state, waiting.subject, waiting.progress], ['queued', { domain: 'rain' }, 0])
    first.release()
    assert.deepEqual(await jobs.ended(two.id), await onDisk(folder, two.id))
    const { state, progress, result, startedAt, endedAt, createdAt } = await onDisk(folder, two.id)
    assert.deepEqual([state, progress, result], ['succeeded', 1, { version: 2 }])
    assert.ok(createdAt <= startedAt! && startedAt! <= endedAt!)
  })

  it('a job that cannot be written is not accepted, and takes no place in the line', async (t) => {
    const { jobs, folder } = await openJobs(t, { waitingMax: 1 })
    const first = held()
    await jobs.submit({}, first.work)
    await first.begun
    await rm(folder, { recursive: true })
    await assert.rejects(jobs.submit({}, async () => assert.fail('it was refused')), { code: 'ENOENT' })
    assert.equal(jobs.list().length, 1)
    await mkdir(folder)
    const { id } = await jobs.submit({}, async () => 'next')
    first.release()
    assert.equal((await jobs.ended(id)).result, 'next')
  })

  it('memory tells how a job ended when its file cannot, the fault is told, and the line goes on', async (t) => {
    const { jobs, folder, faults } = await openJobs(t)
    const first = held()
    const one = await jobs.submit({}, first.work)
    const two = await jobs.submit({}, async () => 'next')
    await first.begun
    await rm(folder, { recursive: true })
    first.release()
    assert.equal((await jobs.ended(one.id)).result, 'done')
    assert.equal((faults[0] as { code: string }).code, 'ENOENT')
    // Its start cannot be noted either, so it must not run.
    const { state, error } = await jobs.ended(two.id)
    assert.deepEqual([state, error?.code], ['failed', 'INTERNAL'])
  })

  it('only the newest thousand ended jobs are kept', async (t) => {
    const folder = await temporaryFolder(t)
    await leave(folder, ...Array.from({ length: 1001 }, (_, number) => recordOf(number, { state: 'succeeded', endedAt: 'then' })))
    const { jobs } = await openJobs(t, { folder })
    assert.equal(jobs.list().length, 1001, 'reading throws nothing away')
    const { id } = await jobs.submit({}, async () => 'new')
    await jobs.ended(id)
    assert.equal(jobs.list().length, 1000)
    const left = await readdir(folder)
    assert.equal(left.length, 1000)
    for (const number of [0, 1]) {
      assert.ok(!left.includes(`${idOf(number)}.json`))
      assert.throws(() => jobs.get(idOf(number)), hasCode('JOB_NOT_FOUND'))
    }
    assert.ok(left.includes(`${idOf(2)}.json`) && left.includes(`${id}.json`))
  })
})

describe('progress and ends', () => {
  it('progress never falls, and never passes the whole', async (t) => {
    const { jobs } = await openJobs(t)
    const seen: number[] = []
    const { id } = await jobs.submit({}, async ({ onProgress }) => {
      for (const share of [0.2, 0.1, 0.7, 5, 0.9]) {
        onProgress(share)
        seen.push(jobs.get(id).progress)
      }
    })
    await jobs.ended(id)
    assert.deepEqual(seen, [0.2, 0.2, 0.7, 1, 1])
  })

  it('whoever waits for a job is told, all of them, and at once when it has ended', async (t) => {
    const { jobs } = await openJobs(t)
    const first = held()
    const { id } = await jobs.submit({}, first.work)
    const waiting = [jobs.ended(id), jobs.ended(id), jobs.ended(id)]
    first.release()
    for (const record of await Promise.all([...waiting, jobs.ended(id)])) assert.equal(record.state, 'succeeded')
    await assert.rejects(jobs.ended('x'), hasCode('JOB_NOT_FOUND'))
  })

  it('a waiting job that is cancelled is told to whoever waits for it', async (t) => {
    const { jobs, folder } = await openJobs(t)
    const first = held()
    await jobs.submit({}, first.work)
    const { id } = await jobs.submit({}, async () => assert.fail('it was cancelled'))
    const waiting = jobs.ended(id)
    await jobs.cancel(id)
    assert.equal((await waiting).error?.code, 'JOB_CANCELLED')
    assert.equal((await onDisk(folder, id)).state, 'cancelled')
    first.release()
  })

  it('closing waits for a commit under way, and lets nobody in', async (t) => {
    const { jobs, folder } = await openJobs(t)
    let [commit, release] = [() => {}, () => {}]
    const committing = new Promise<void>((resolve) => { commit = resolve })
    const released = new Promise<void>((resolve) => { release = resolve })
    const { id } = await jobs.submit({}, async ({ beginCommit, signal }) => {
      await beginCommit({ digest: 'd' })
      commit()
      await released
      assert.equal(signal.aborted, false, 'a commit is not cut off')
      return 'committed'
    })
    await committing
    const closing = jobs.close()
    await assert.rejects(jobs.submit({}, async () => {}), hasCode('JOB_QUEUE_FULL'))
    release()
    await closing
    assert.equal((await onDisk(folder, id)).result, 'committed')
  })

  it('an unexpected error keeps its reason for the log, once', async (t) => {
    const { jobs, faults } = await openJobs(t)
    const { id } = await jobs.submit({}, async () => { throw new TypeError('/secret/file') })
    const { error } = await jobs.ended(id)
    assert.deepEqual(error, { code: 'INTERNAL', kind: 'internal', message: 'the job failed; the server\'s log has the reason', details: {} })
    assert.equal(faults.length, 1)
  })
})
