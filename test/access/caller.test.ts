import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { requireCurrent, requireModel, requireScope, SCOPES, type Caller, type Scope } from '#src/access/caller.js'
import { hasCode } from '../support/errors.js'

const caller = (...scopes: Scope[]): Caller => ({ id: 'x', scopes: new Set(scopes) })

describe('scopes', () => {
  it('hold for themselves, admin for read too, and for nothing else', () => {
    for (const held of SCOPES) {
      for (const wanted of SCOPES) {
        const isHeld = held === wanted || (held === 'admin' && wanted === 'read')
        if (isHeld) requireScope(caller(held), [wanted])
        else assert.throws(() => requireScope(caller(held), [wanted]), hasCode('SCOPE_MISSING', { expected: [wanted], received: [held] }))
      }
    }
  })

  it('are enough when one of the wanted is held', () => {
    requireScope(caller('infer'), ['infer', 'read'])
    requireScope(caller('admin'), ['infer', 'read'])
    requireScope(caller('infer', 'admin'), ['admin'])
    assert.throws(() => requireScope(caller('infer', 'read'), ['admin']), hasCode('SCOPE_MISSING'))
    assert.throws(() => requireScope(caller(...SCOPES), []), hasCode('SCOPE_MISSING'))
  })
})

describe('models', () => {
  it('limit a key to what is about them', () => {
    const limited = { ...caller('admin'), models: new Set(['a', 'b']) }
    requireModel(limited, 'b')
    assert.throws(() => requireModel(limited, 'c'), hasCode('MODEL_DENIED', { expected: ['a', 'b'], received: 'c' }))
    assert.throws(() => requireModel(limited, ''), hasCode('MODEL_DENIED'))
    assert.throws(() => requireModel(limited, undefined), hasCode('MODEL_DENIED', { received: 'all models' }))
  })

  it('do not limit a key without them', () => {
    requireModel(caller('admin'), 'c')
    requireModel(caller('admin'), undefined)
  })
})

it('a key is good until the moment that it expires', () => {
  const expiring = { ...caller('infer'), expiresAt: 1000 }
  requireCurrent(expiring, 999)
  assert.throws(() => requireCurrent(expiring, 1000), hasCode('KEY_EXPIRED', { received: '1970-01-01T00:00:01.000Z' }))
  requireCurrent(caller('infer'), Number.MAX_SAFE_INTEGER)
})
