import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, test } from 'node:test'
import {
  BankswitchError, defineErrors, ERROR_KINDS, errorCatalogue, fromErrorRecord, hasErrno, toErrorRecord
} from '#src/base/errors.js'

const errors = defineErrors({ TEST_GONE: 'not-found', TEST_FULL: 'exhausted' })

describe('defineErrors', () => {
  test('makes errors with code, kind, details and cause', () => {
    const cause = new Error('why')
    const error = errors.TEST_GONE('it is gone', { expected: 1, received: 0 }, cause)
    assert.ok(error instanceof BankswitchError)
    assert.ok(error instanceof Error)
    const { name, code, kind, message, details } = error
    assert.deepEqual({ name, code, kind, message, details }, {
      name: 'BankswitchError',
      code: 'TEST_GONE',
      kind: 'not-found',
      message: 'it is gone',
      details: { expected: 1, received: 0 }
    })
    assert.equal(error.cause, cause)
    assert.match(error.stack ?? '', /errors\.test/)
  })

  test('details default to none, and no cause is no property', () => {
    const error = errors.TEST_FULL('full')
    assert.deepEqual(error.details, {})
    assert.ok(!('cause' in error))
  })

  test('puts every code into the catalogue', () => {
    assert.equal(errorCatalogue().get('TEST_GONE'), 'not-found')
    assert.equal(errorCatalogue().get('TEST_FULL'), 'exhausted')
    for (const [code, kind] of errorCatalogue()) {
      assert.match(code, /^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$/)
      assert.ok(ERROR_KINDS.includes(kind))
    }
  })

  test('refuses a code that is declared twice, with the same kind or another', () => {
    assert.throws(() => defineErrors({ TEST_GONE: 'conflict' }), /TEST_GONE is declared twice/)
    assert.throws(() => defineErrors({ TEST_GONE: 'not-found' }), /TEST_GONE is declared twice/)
    assert.equal(errorCatalogue().get('TEST_GONE'), 'not-found')
  })
})

describe('records', () => {
  test('survive structured clone and come back as the same error', () => {
    const error = errors.TEST_GONE('it is gone', { layer: 'bn1', expected: [1, 2], received: null })
    const back = fromErrorRecord(structuredClone(toErrorRecord(error)))
    assert.ok(back instanceof BankswitchError)
    assert.deepEqual(
      [back.code, back.kind, back.message, back.details, back.stack],
      [error.code, error.kind, error.message, error.details, error.stack]
    )
  })

  test('what is no error of ours becomes internal', () => {
    const record = toErrorRecord(new TypeError('x is not a function'))
    assert.deepEqual(
      { ...record, stack: undefined },
      { code: 'INTERNAL', kind: 'internal', message: 'x is not a function', details: {}, stack: undefined }
    )
    assert.match(record.stack ?? '', /TypeError: x is not a function/)
    assert.equal(fromErrorRecord(record).kind, 'internal')
  })

  test('thrown values that are no errors', () => {
    for (const [thrown, message] of [['text', 'text'], [undefined, 'undefined'], [null, 'null'], [7, '7']] as const) {
      assert.deepEqual(toErrorRecord(thrown).code, 'INTERNAL')
      assert.deepEqual(toErrorRecord(thrown).message, message)
    }
  })

  test('an error without a stack', () => {
    const error = errors.TEST_FULL('full')
    delete error.stack
    const record = toErrorRecord(error)
    assert.ok(!('stack' in record))
    assert.equal(fromErrorRecord(record).code, 'TEST_FULL')
  })
})

test('hasErrno knows errno errors by code', async () => {
  const thrown: unknown = await readFile('/nowhere/at/all').catch((error: unknown) => error)
  assert.ok(hasErrno(thrown, 'ENOENT'))
  assert.ok(hasErrno(thrown, 'EACCES', 'ENOENT'))
  assert.ok(!hasErrno(thrown, 'EACCES'))
  assert.ok(!hasErrno(thrown))
  assert.ok(!hasErrno({ code: 'ENOENT' }, 'ENOENT'))
  assert.ok(!hasErrno(new Error('ENOENT'), 'ENOENT'))
  assert.ok(!hasErrno(undefined, 'ENOENT'))
})
