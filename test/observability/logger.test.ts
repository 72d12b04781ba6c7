import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { describe, test, type TestContext } from 'node:test'
import { createLogger } from '#src/observability/logger.js'

const SECRET = 'correct-horse-battery'

/** A logger and what it wrote. */
function logged (level = 'info') {
  const lines: string[] = []
  const logger = createLogger(level, { write: (line: string) => { lines.push(line) } })
  return { logger, lines, records: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) }
}

describe('createLogger', () => {
  test('writes one JSON line an entry, without process or host', () => {
    const { logger, lines, records } = logged()
    logger.info({ domain: 'fog' }, 'two\nlines')
    assert.equal(lines.length, 1)
    assert.match(lines[0]!, /^\{[^\n]*\}\n$/)
    const { time, ...rest } = records()[0]!
    assert.deepEqual(rest, { level: 30, domain: 'fog', msg: 'two\nlines' })
    assert.equal(typeof time, 'number')
  })

  test('keeps to its level', () => {
    const { logger, records } = logged('warn')
    logger.info('no')
    logger.warn('yes')
    logger.error('yes')
    assert.deepEqual(records().map(({ level }) => level), [40, 50])
    const silent = logged('silent')
    silent.logger.fatal('no')
    assert.equal(silent.lines.length, 0)
  })

  test('shows errors with their stack', () => {
    const { logger, records } = logged()
    logger.error({ err: new Error('why') }, 'failed')
    const { err } = records()[0] as { err: { message: string, stack: string } }
    assert.equal(err.message, 'why')
    assert.match(err.stack, /logger\.test/)
  })
})

describe('lines on standard output', () => {
  const LINES = 1000
  const module = JSON.stringify(import.meta.resolve('#src/observability/logger.js'))
  for (const [how, end] of [['ends', ''], ['exits', 'process.exit(0)'], ['fails', 'throw new Error("failed")']] as const) {
    test(`are all there when the process ${how}`, () => {
      const script = `
        const { createLogger } = await import(${module})
        const logger = createLogger('info')
        for (let line = 0; line < ${LINES}; line++) logger.info({ line }, 'a line')
        ${end}
      `
      const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' })
      const lines = stdout.trim().split('\n').map((line) => (JSON.parse(line) as { line: number }).line)
      assert.deepEqual(lines, Array.from({ length: LINES }, (_, at) => at))
    })
  }
})

describe('the end of the log keeps no process', () => {
  const module = JSON.stringify(import.meta.resolve('#src/observability/logger.js'))
  const script = (lines: number) => `
    const { createLogger, endLog } = await import(${module})
    const logger = createLogger('info')
    await new Promise((resolve) => process.stdin.once('data', resolve))
    for (let line = 0; line < ${lines}; line++) logger.info({ line }, 'a line')
    await endLog(logger)
    process.exit(7)
  `
  const start = (t: TestContext, lines: number) => {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script(lines)], { stdio: ['pipe', 'pipe', 'inherit'] })
    t.after(() => child.kill('SIGKILL'))
    return child
  }

  test('whose reader has gone', async (t) => {
    const child = start(t, 1)
    child.stdout.destroy()
    await once(child.stdout, 'close')
    child.stdin.end('go')
    assert.deepEqual(await once(child, 'exit'), [7, null])
  })

  test('and loses no line that is read', async (t) => {
    const child = start(t, 1000)
    child.stdin.end('go')
    const lines = (await text(child.stdout)).trim().split('\n')
    assert.equal(lines.length, 1000)
  })
})

describe('secrets', () => {
  const places: Record<string, object> = {
    'the admin key': { adminKey: SECRET, port: 1 },
    'settings as a whole': { settings: { adminKey: SECRET, port: 1 } },
    'a request': { req: { headers: { authorization: `Bearer ${SECRET}`, host: 'x' } } },
    'headers by themselves': { headers: { authorization: `Bearer ${SECRET}`, host: 'x' } }
  }
  for (const [place, fields] of Object.entries(places)) {
    test(`are not written: ${place}`, () => {
      const { logger, lines, records } = logged()
      logger.info(fields, 'look')
      logger.child(fields).info('look')
      for (const line of lines) assert.ok(!line.includes(SECRET), line)
      assert.match(lines[0]!, /"\(secret\)"/)
      assert.match(lines[0]!, /"(port|host)":/, 'the rest is there')
      assert.equal(records()[0]!.msg, 'look')
    })
  }

  test('what is logged is not changed by it', () => {
    const { logger } = logged()
    const headers = { authorization: SECRET }
    logger.info({ headers }, 'look')
    assert.equal(headers.authorization, SECRET)
  })
})
