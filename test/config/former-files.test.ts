import assert from 'node:assert/strict'
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { takeOverFormerFiles } from '#src/config/former-files.js'
import { temporaryFolder } from '../support/folders.js'
import { stallAt } from '../store/fixtures/faults.js'

/** A volume as the container of 1f47071 kept it, and the places of now. */
async function volume (t: TestContext) {
  const folder = await temporaryFolder(t)
  const domainsDir = join(folder, 'domains')
  await mkdir(join(domainsDir, '.jobs'), { recursive: true })
  await writeFile(join(domainsDir, '.admin.key'), 'a-key\n', { mode: 0o600 })
  await chmod(join(domainsDir, '.admin.key'), 0o600)
  await writeFile(join(domainsDir, '.keys.json'), '{"keys": []}')
  await writeFile(join(domainsDir, '.audit.jsonl'), '{}\n')
  await writeFile(join(domainsDir, '.jobs/0001.json'), 'a job')
  await writeFile(join(domainsDir, '.jobs/.tmp-0002.json'), 'half a job')
  const now = join(folder, 'volume')
  const settings = {
    store: join(now, 'store'),
    domainsDir,
    adminKeyFile: join(now, 'admin.key'),
    keysFile: join(now, 'keys.json'),
    auditFile: join(now, 'audit.jsonl'),
    jobsDir: join(now, 'jobs')
  }
  return { now, settings }
}

async function assertTaken (now: string): Promise<void> {
  assert.deepEqual((await readdir(now, { recursive: true })).sort(), ['admin.key', 'audit.jsonl', 'jobs', 'jobs/0001.json', 'keys.json'])
  assert.equal(await readFile(join(now, 'admin.key'), 'utf8'), 'a-key\n')
  assert.equal((await stat(join(now, 'admin.key'))).mode & 0o777, 0o600)
  assert.equal(await readFile(join(now, 'jobs/0001.json'), 'utf8'), 'a job')
}

test('key, keys, audit log and jobs come over at the first start, and stay where they were', async (t) => {
  const { now, settings } = await volume(t)
  const taken = await takeOverFormerFiles(settings)
  assert.deepEqual(taken, [settings.adminKeyFile, settings.keysFile, settings.auditFile, settings.jobsDir])
  await assertTaken(now)
  assert.equal(await readFile(join(settings.domainsDir, '.admin.key'), 'utf8'), 'a-key\n')
  assert.deepEqual(await takeOverFormerFiles(settings), [])
})

test('what is there already stays, and a store ends it: a log that was rotated away does not come back', async (t) => {
  const { now, settings } = await volume(t)
  await mkdir(now)
  await writeFile(settings.keysFile, 'own keys')
  assert.deepEqual(await takeOverFormerFiles(settings), [settings.adminKeyFile, settings.auditFile, settings.jobsDir])
  assert.equal(await readFile(settings.keysFile, 'utf8'), 'own keys')
  const another = await volume(t)
  await mkdir(another.settings.store, { recursive: true })
  assert.deepEqual(await takeOverFormerFiles(another.settings), [])
  assert.deepEqual(await readdir(another.now), ['store'])
})

test('a folder of domains without such files, or none at all, is nothing to take over', async (t) => {
  const { settings } = await volume(t)
  assert.deepEqual(await takeOverFormerFiles({ ...settings, domainsDir: join(settings.domainsDir, 'none') }), [])
})

test('a start that ends at any call is completed by the next', async (t) => {
  for (let n = 1; ; n++) {
    const { now, settings } = await volume(t)
    const stalled = await stallAt(n, () => takeOverFormerFiles(settings))
    await takeOverFormerFiles(settings)
    await assertTaken(now)
    if (stalled === undefined) break
  }
})
