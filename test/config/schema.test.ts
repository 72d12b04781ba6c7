import assert from 'node:assert/strict'
import { availableParallelism } from 'node:os'
import { describe, test } from 'node:test'
import {
  environmentName, flagName, isSecret, SETTING_NAMES, settingsShape, workersDefault
} from '#src/config/schema.js'

interface Described {
  description?: string
  default?: unknown
  minimum?: number
  maximum?: number
}

const shape = settingsShape as unknown as Record<string, Described>

describe('names', () => {
  test('of the environment and of flags', () => {
    assert.deepEqual(['host', 'modelsDir', 'adminKeyFile'].map(environmentName), [
      'BANKSWITCH_HOST', 'BANKSWITCH_MODELS_DIR', 'BANKSWITCH_ADMIN_KEY_FILE'
    ])
    assert.deepEqual(['host', 'modelsDir', 'adminKeyFile'].map(flagName), ['host', 'models-dir', 'admin-key-file'])
  })

  test('are one to one', () => {
    assert.equal(new Set(SETTING_NAMES.map(environmentName)).size, SETTING_NAMES.length)
    assert.equal(new Set(SETTING_NAMES.map(flagName)).size, SETTING_NAMES.length)
    for (const name of SETTING_NAMES) {
      assert.match(environmentName(name), /^BANKSWITCH_[A-Z]+(_[A-Z]+)*$/)
      assert.match(flagName(name), /^[a-z]+(-[a-z]+)*$/)
    }
  })
})

test('secrets are the admin key, and the address of a collector, which may hold a token', () => {
  assert.deepEqual(SETTING_NAMES.filter(isSecret), ['adminKey', 'traceUrl'])
  for (const name of ['', 'nothing', '__proto__', 'toString']) assert.equal(isSecret(name), false)
})

/** Without a value, what they are for is off. */
const OFF_BY_DEFAULT = ['adminKey', 'adminPort', 'tlsCertificateFile', 'tlsKeyFile', 'traceUrl', 'trustedProxies']

test('every setting says what it is, and what it is by default', () => {
  for (const name of SETTING_NAMES) {
    assert.ok(shape[name]!.description!.length > 10, name)
    assert.equal(shape[name]!.default === undefined, OFF_BY_DEFAULT.includes(name), name)
  }
})

test('every default lies within its own bounds', () => {
  for (const name of SETTING_NAMES) {
    const { default: value, minimum = -Infinity, maximum = Infinity } = shape[name]!
    if (typeof value === 'number') assert.ok(value >= minimum && value <= maximum, name)
  }
})

test('the default of workers is one a core, on machines with more cores than may work too', () => {
  assert.deepEqual([1, 2, 256, 257, 1024].map(workersDefault), [1, 2, 256, 256, 256])
  assert.equal(shape.workers!.default, workersDefault(availableParallelism()))
})
