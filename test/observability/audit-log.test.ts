import assert from 'node:assert/strict'
import { appendFile, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { AuditLog, type AuditEntry } from '#src/observability/audit-log.js'
import { hasCode } from '../support/errors.js'
import { temporaryFolder } from '../support/folders.js'
import { gate } from '../support/gate.js'
import { watchCalls } from '../store/fixtures/faults.js'
import { interceptFileSystem } from '../store/fixtures/file-system-calls.js'

const entry = (requestId: string): AuditEntry => {
  return { requestId, address: '192.0.2.1', method: 'PUT', path: '/admin/x', model: 'signs', domain: 'night', version: 3, status: 200, outcome: 'ok' }
}
const NOW = Date.UTC(2024, 0, 1)
const idsIn = async (path: string) => {
  return (await readFile(path, 'utf8')).trimEnd().split('\n').map((line) => (JSON.parse(line) as AuditEntry).requestId)
}

test('lines come in order, whole, for the owner only', async (t) => {
  const path = join(await temporaryFolder(t), 'below', 'audit.jsonl')
  const log = new AuditLog(path, undefined, () => NOW)
  await log.open()
  assert.equal(await readFile(path, 'utf8'), '')
  const ids = Array.from({ length: 20 }, (_, at) => `r${at}`)
  await Promise.all(ids.map((id) => log.append(entry(id))))
  assert.deepEqual(await idsIn(path), ids)
  const [first] = (await readFile(path, 'utf8')).split('\n')
  assert.deepEqual(JSON.parse(first!), { time: '2024-01-01T00:00:00.000Z', ...entry('r0') })
  assert.equal((await stat(path)).mode & 0o777, 0o600)
})

test('a line is synced before it counts as written, a new file also in its folder', async (t) => {
  const path = join(await temporaryFolder(t), 'audit.jsonl')
  const log = new AuditLog(path)
  const names = (await watchCalls(() => log.append(entry('r')))).map(({ name }) => name)
  const written = names.indexOf('FileHandle.appendFile')
  assert.ok(written >= 0)
  assert.ok(names.indexOf('FileHandle.datasync') > written)
  assert.ok(names.lastIndexOf('FileHandle.sync') > written)
})

test('lines that come while the disk is at work are synced together, and none counts before that', async (t) => {
  const path = join(await temporaryFolder(t), 'audit.jsonl')
  const log = new AuditLog(path)
  await log.open()
  const { reached, pass, open } = gate()
  let syncs = 0
  const settled: string[] = []
  const append = (id: string) => log.append(entry(id)).then(() => { settled.push(`${id} after ${syncs}`) })
  const restore = await interceptFileSystem(async ({ name }, proceed) => {
    if (name !== 'FileHandle.datasync') return await proceed()
    if (syncs === 0) await pass()
    const result = await proceed()
    syncs++
    return result
  })
  try {
    const first = append('r0')
    await reached
    const ids = Array.from({ length: 30 }, (_, at) => `r${at + 1}`)
    const others = ids.map(append)
    assert.deepEqual(settled, [])
    open()
    await Promise.all([first, ...others])
    assert.deepEqual(settled, ['r0 after 1', ...ids.map((id) => `${id} after 2`)])
    assert.deepEqual(await idsIn(path), ['r0', ...ids])
  } finally {
    restore()
  }
})

test('a file that is renamed is followed by a new one, and text in a line stays in it', async (t) => {
  const path = join(await temporaryFolder(t), 'audit.jsonl')
  const log = new AuditLog(path)
  await log.append(entry('before'))
  await rename(path, `${path}.1`)
  await log.append(entry('after\n{"requestId":"forged"}'))
  assert.deepEqual(await idsIn(`${path}.1`), ['before'])
  assert.deepEqual(await idsIn(path), ['after\n{"requestId":"forged"}'])
})

test('a line that a crash cut off does not take the next one along', async (t) => {
  const path = join(await temporaryFolder(t), 'audit.jsonl')
  const log = new AuditLog(path)
  await log.append(entry('one'))
  await appendFile(path, '{"requestId":"tw')
  await log.append(entry('three'))
  const lines = (await readFile(path, 'utf8')).trimEnd().split('\n')
  assert.equal(lines.length, 3)
  assert.equal((JSON.parse(lines[2]!) as AuditEntry).requestId, 'three')
})

test('what cannot be written is told, and the next line is tried again', async (t) => {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'file'), '')
  const log = new AuditLog(join(folder, 'file', 'audit.jsonl'))
  await assert.rejects(log.open(), hasCode('AUDIT_UNWRITABLE'))
  await rename(join(folder, 'file'), join(folder, 'aside'))
  await log.append(entry('r'))
  assert.deepEqual(await idsIn(join(folder, 'file', 'audit.jsonl')), ['r'])
})
