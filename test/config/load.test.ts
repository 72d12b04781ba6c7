import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { loadSettings } from '#src/config/load.js'
import { environmentName, flagName, isSecret, SETTING_NAMES } from '#src/config/schema.js'
import { BankswitchError } from '#src/base/errors.js'
import { runSeed } from '../support/run-seed.js'

/** The faults of a load that is refused. */
function faultsOf (environment: Record<string, string | undefined>, flags: string[] = []): string[] {
  try {
    loadSettings(environment, flags)
  } catch (error) {
    assert.ok(error instanceof BankswitchError, String(error))
    assert.equal(error.code, 'CONFIG_INVALID')
    const faults = error.details.faults as string[]
    for (const fault of faults) assert.ok(error.message.includes(`\n  ${fault}`))
    return faults
  }
  return assert.fail('the settings are taken')
}

/** A valid text for every setting, other than its default. */
const texts: Record<string, [text: string, value: unknown]> = {
  host: ['0.0.0.0', '0.0.0.0'],
  port: ['0', 0],
  modelsDir: ['/srv/models', '/srv/models'],
  domainsDir: ['/srv/domains', '/srv/domains'],
  store: ['/srv/store', '/srv/store'],
  storePollMs: ['1000', 1000],
  storeAgeMs: ['60000', 60000],
  cacheDir: ['/tmp/cache', '/tmp/cache'],
  jobsDir: ['/tmp/jobs', '/tmp/jobs'],
  adminKey: ['0123456789abcdef', '0123456789abcdef'],
  adminKeyFile: ['/run/key', '/run/key'],
  keysFile: ['/run/keys.json', '/run/keys.json'],
  inferenceKeyed: ['true', true],
  metricsKeyed: ['true', true],
  requestsPerMinute: ['60', 60],
  trustedProxies: ['10.0.0.0/8,::1', '10.0.0.0/8,::1'],
  adminPort: ['0', 0],
  ui: ['false', false],
  adminHost: ['::1', '::1'],
  tlsCertificateFile: ['/run/tls.crt', '/run/tls.crt'],
  tlsKeyFile: ['/run/tls.key', '/run/tls.key'],
  auditFile: ['/var/log/audit.jsonl', '/var/log/audit.jsonl'],
  auditLogged: ['true', true],
  workers: ['3', 3],
  expressThreads: ['0', 0],
  foldBudget: ['0.25', 0.25],
  autoFitMin: ['0.01', 0.01],
  autoLast: ['3', 3],
  autoStreams: ['9', 9],
  driftErt: ['1000', 1000],
  driftShare: ['0.5', 0.5],
  driftCollect: ['true', true],
  driftCollectImages: ['512', 512],
  queueRows: ['7', 7],
  runRows: ['1', 1],
  runBytes: ['1048576', 1048576],
  runMs: ['100', 100],
  bankCacheBytes: ['0', 0],
  hotBytes: ['1073741824', 1073741824],
  bodyBytes: ['1048576', 1048576],
  jsonBytes: ['2048', 2048],
  bodiesBytes: ['4096', 4096],
  answerBytes: ['2048', 2048],
  answersBytes: ['4096', 4096],
  compressBytes: ['5', 5],
  connections: ['10', 10],
  refusalHoldMs: ['5', 5],
  imagePixels: ['100', 100],
  calibrationBytes: ['1048576', 1048576],
  pictureBytes: ['1048576', 1048576],
  shutdownMs: ['0', 0],
  traceUrl: ['https://collector:4318/v1/traces', 'https://collector:4318/v1/traces'],
  traceRatio: ['0.1', 0.1],
  logLevel: ['debug', 'debug']
}

describe('where settings come from', () => {
  test('defaults for everything', () => {
    const { workers, ...settings } = loadSettings({}, [])
    assert.deepEqual(settings, {
      host: '127.0.0.1',
      port: 8080,
      modelsDir: 'models',
      domainsDir: 'domains',
      store: '.bankswitch/store',
      storePollMs: 250,
      storeAgeMs: 0,
      cacheDir: '.bankswitch/cache',
      jobsDir: '.bankswitch/jobs',
      adminKeyFile: '.bankswitch/admin.key',
      keysFile: '.bankswitch/keys.json',
      inferenceKeyed: false,
      metricsKeyed: false,
      ui: true,
      requestsPerMinute: 0,
      adminHost: '127.0.0.1',
      auditFile: '.bankswitch/audit.jsonl',
      auditLogged: false,
      expressThreads: 1,
      foldBudget: 0.05,
      autoFitMin: 0.005,
      autoLast: 5,
      autoStreams: 256,
      driftErt: 0,
      driftShare: 0.05,
      driftCollect: false,
      driftCollectImages: 256,
      queueRows: 1024,
      runRows: 4,
      runBytes: 536870912,
      runMs: 60000,
      bankCacheBytes: 268435456,
      hotBytes: 0,
      bodyBytes: 67108864,
      bodiesBytes: 536870912,
      jsonBytes: 16777216,
      answerBytes: 134217728,
      answersBytes: 536870912,
      compressBytes: 1024,
      connections: 4096,
      refusalHoldMs: 1000,
      imagePixels: 50000000,
      calibrationBytes: 1073741824,
      pictureBytes: 1610612736,
      shutdownMs: 30000,
      traceRatio: 1,
      logLevel: 'info'
    })
    assert.ok(Number.isInteger(workers) && workers >= 1 && workers <= 256)
  })

  test('every setting has a name in the environment', () => {
    assert.deepEqual(Object.keys(texts), SETTING_NAMES)
    const environment = Object.fromEntries(SETTING_NAMES.map((name) => [environmentName(name), texts[name]![0]]))
    const expected = Object.fromEntries(SETTING_NAMES.map((name) => [name, texts[name]![1]]))
    assert.deepEqual(loadSettings(environment, []), expected)
  })

  test('every setting that is no secret has a flag, in both spellings', () => {
    for (const name of SETTING_NAMES.filter((name) => !isSecret(name))) {
      const [text, value] = texts[name]!
      assert.equal(loadSettings({}, [`--${flagName(name)}`, text])[name], value)
      assert.equal(loadSettings({}, [`--${flagName(name)}=${text}`])[name], value)
    }
  })

  test('a flag wins over the environment, which wins over the default', () => {
    const environment = { BANKSWITCH_PORT: '1', BANKSWITCH_HOST: 'a' }
    const { port, host, queueRows } = loadSettings(environment, ['--port', '2'])
    assert.deepEqual([port, host, queueRows], [2, 'a', 1024])
  })

  test('other names of the environment, and ours without a value, are left alone', () => {
    const environment = { PORT: '1', XBANKSWITCH_PORT: '2', bankswitch_port: '3', BANKSWITCH_PROT: undefined }
    assert.equal(loadSettings(environment, []).port, 8080)
  })
})

test('proxies are addresses or CIDRs', () => {
  for (const text of ['', 'loopback', '10.0.0.0/33', '10.0.0.0/8;::1', '0.0.0.0/0']) {
    assert.deepEqual(faultsOf({ BANKSWITCH_TRUSTED_PROXIES: text }), [
      `BANKSWITCH_TRUSTED_PROXIES: must match format "addresses or CIDRs, with commas between", received "${text}"`
    ])
  }
})

describe('the result', () => {
  test('is frozen, and the next load starts afresh', () => {
    const settings = loadSettings({ BANKSWITCH_PORT: '1' }, [])
    assert.ok(Object.isFrozen(settings))
    assert.throws(() => { (settings as { port: number }).port = 2 }, TypeError)
    assert.equal(loadSettings({}, []).port, 8080)
  })

  test('leaves what it was given as it was', () => {
    const environment = Object.freeze({ BANKSWITCH_PORT: '1' })
    const flags = ['--host', 'x']
    loadSettings(environment, Object.freeze(flags) as string[])
    assert.deepEqual(flags, ['--host', 'x'])
  })
})

describe('numbers', () => {
  test('an infinite fold budget', () => {
    assert.equal(loadSettings({ BANKSWITCH_FOLD_BUDGET: 'infinite' }, []).foldBudget, Infinity)
    assert.equal(loadSettings({}, ['--fold-budget=infinite']).foldBudget, Infinity)
    assert.equal(loadSettings({}, ['--fold-budget=0']).foldBudget, 0)
  })

  test('are written in decimals', () => {
    for (const [text, value] of [['.5', 0.5], ['5.', 5], ['1e-2', 0.01], ['2E+1', 20], ['007', 7]] as const) {
      assert.equal(loadSettings({}, ['--fold-budget', text]).foldBudget, value, text)
    }
    assert.equal(loadSettings({}, ['--queue-rows', '1e3']).queueRows, 1000)
  })

  test('nothing else is a number', () => {
    const wrong = [
      '', ' ', ' 1', '1 ', '0x10', '1_000', '1,5', 'NaN', 'Infinity', '-infinite', 'one', '1e', 'true', '.', '1e400'
    ]
    for (const text of wrong) {
      assert.deepEqual(faultsOf({ BANKSWITCH_FOLD_BUDGET: text }), [
        `BANKSWITCH_FOLD_BUDGET: must be number, received "${text}"`
      ])
      assert.deepEqual(faultsOf({ BANKSWITCH_PORT: text }), [`BANKSWITCH_PORT: must be integer, received "${text}"`])
    }
    for (const text of ['1.5', 'infinite']) {
      assert.deepEqual(faultsOf({ BANKSWITCH_PORT: text }), [`BANKSWITCH_PORT: must be integer, received "${text}"`])
    }
  })

  const bounds: Array<[name: string, minimum: number, maximum?: number]> = [
    ['port', 0, 65535], ['workers', 1, 256], ['expressThreads', 0, 256], ['foldBudget', 0], ['autoFitMin', 0, 1],
    ['autoLast', 1, 1000], ['autoStreams', 1, 100_000], ['queueRows', 1, 1_000_000], ['runRows', 1, 1024],
    ['bankCacheBytes', 0, 2 ** 40], ['hotBytes', 0, 2 ** 40], ['bodyBytes', 1024, 2 ** 31 - 1], ['imagePixels', 1, 2 ** 31 - 1],
    ['bodiesBytes', 1024, 2 ** 40], ['jsonBytes', 1024, 2 ** 28], ['answerBytes', 1024, 2 ** 31 - 1], ['answersBytes', 1024, 2 ** 40],
    ['compressBytes', 1, 2 ** 40], ['connections', 1, 1_000_000], ['refusalHoldMs', 0, 60_000],
    ['shutdownMs', 0, 3_600_000], ['requestsPerMinute', 0, 1_000_000_000], ['adminPort', 0, 65535], ['traceRatio', 0, 1],
    ['runMs', 100, 3_600_000], ['runBytes', 2 ** 20, 2 ** 40]
  ]
  for (const [name, minimum, maximum] of bounds) {
    test(`${name} keeps to its bounds, which a fault tells`, () => {
      const variable = environmentName(name)
      const load = (value: number) => loadSettings({ [variable]: String(value) }, [])[name as 'port']
      assert.equal(load(minimum), minimum)
      assert.deepEqual(faultsOf({ [variable]: String(minimum - 1) }), [
        `${variable}: must be >= ${minimum}, received "${minimum - 1}"`
      ])
      if (maximum === undefined) return
      assert.equal(load(maximum), maximum)
      for (const tooMuch of [maximum + 1, 1e300]) {
        assert.deepEqual(faultsOf({ [variable]: String(tooMuch) }), [
          `${variable}: must be <= ${maximum}, received "${tooMuch}"`
        ])
      }
    })
  }
})

describe('yes and no', () => {
  test('are true and false, and nothing else', () => {
    assert.equal(loadSettings({ BANKSWITCH_INFERENCE_KEYED: 'true' }, []).inferenceKeyed, true)
    assert.equal(loadSettings({ BANKSWITCH_INFERENCE_KEYED: 'true' }, ['--inference-keyed=false']).inferenceKeyed, false)
    for (const text of ['', 'yes', '1', 'TRUE', ' true']) {
      assert.deepEqual(faultsOf({ BANKSWITCH_INFERENCE_KEYED: text }), [
        `BANKSWITCH_INFERENCE_KEYED: must be boolean, received "${text}"`
      ])
    }
  })
})

describe('texts', () => {
  test('that are empty are refused', () => {
    for (const name of ['host', 'modelsDir', 'domainsDir', 'cacheDir', 'adminKeyFile', 'keysFile', 'adminHost', 'tlsCertificateFile', 'tlsKeyFile']) {
      assert.deepEqual(faultsOf({ [environmentName(name)]: '' }), [
        `${environmentName(name)}: must NOT have fewer than 1 characters (1), received ""`
      ])
    }
  })

  test('a level of the log that does not exist, with those that do', () => {
    for (const level of ['', 'INFO', 'verbose']) {
      assert.deepEqual(faultsOf({}, [`--log-level=${level}`]), [
        `--log-level: one of fatal, error, warn, info, debug, trace, silent, received "${level}"`
      ])
    }
    for (const level of ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']) {
      assert.equal(loadSettings({}, ['--log-level', level]).logLevel, level)
    }
  })
})

describe('what does not exist', () => {
  test('names in the environment that begin like ours', () => {
    for (const end of ['PROT', '', 'port', 'MODELSDIR', '__PROTO__']) {
      const name = `BANKSWITCH_${end}`
      assert.deepEqual(faultsOf({ [name]: '1' }), [`${name}: there is no such setting`])
    }
  })

  test('flags, long or short, with or without a value', () => {
    const wrong = [
      ['--prot=1'], ['--prot'], ['--prot', '1'], ['--Port=1'], ['--models_dir', 'x', 'y'], ['--__proto__=1'],
      ['--x', '--', 'y']
    ]
    for (const flags of wrong) {
      assert.deepEqual(faultsOf({}, flags), [`${flags[0]!.split('=')[0]}: there is no such flag`])
    }
    assert.deepEqual(faultsOf({}, ['-p', '1']), ['-p: there is no such flag'])
    assert.deepEqual(faultsOf({}, ['--no-port']), ['--no-port: there is no such flag'])
  })

  test('arguments without a flag', () => {
    assert.deepEqual(faultsOf({}, ['start', '--port', '1', 'now']), [
      '"start": there is no such argument', '"now": there is no such argument'
    ])
    assert.deepEqual(faultsOf({}, ['--', '--port=1']), ['"--port=1": there is no such argument'])
  })

  test('an address with a password, which other users of the machine could read', () => {
    for (const address of ['postgres://u:secret@host/banks', 'postgres://:secret@/banks?host=/run', 'postgresql://host/banks?user=u&password=secret']) {
      assert.deepEqual(faultsOf({}, ['--store', address]), ['--store: an address with a password belongs into BANKSWITCH_STORE'])
      assert.equal(loadSettings({ BANKSWITCH_STORE: address }, []).store, address)
    }
    for (const address of ['postgres://u@host:5432/banks', 'postgres:///banks?host=/run', 'a:b@c', './a:b']) {
      assert.equal(loadSettings({}, ['--store', address]).store, address)
    }
  })

  test('flags without their value, at the end or before another flag', () => {
    assert.deepEqual(faultsOf({}, ['--port']), ['--port: a value is missing'])
    assert.deepEqual(faultsOf({}, ['--host', '--port=80']), ['--host: a value is missing'])
    assert.deepEqual(faultsOf({}, ['--models-dir', '--domains-dir', 'x']), ['--models-dir: a value is missing'])
    assert.equal(loadSettings({}, ['--models-dir=--odd']).modelsDir, '--odd')
    assert.deepEqual(faultsOf({}, ['--fold-budget', '-1']), ['--fold-budget: must be >= 0, received "-1"'])
  })
})

test('all faults are told at once, each with where it came from', () => {
  const faults = faultsOf({
    BANKSWITCH_PROT: '1', BANKSWITCH_WORKERS: '0', BANKSWITCH_BODY_BYTES: 'big', BANKSWITCH_LOG_LEVEL: 'loud', HOME: '/'
  }, ['--queue-rows=0', '--colour', '--run-rows', 'many', 'x', '--port'])
  assert.deepEqual(faults, [
    'BANKSWITCH_PROT: there is no such setting',
    '--colour: there is no such flag',
    '"x": there is no such argument',
    '--port: a value is missing',
    'BANKSWITCH_WORKERS: must be >= 1, received "0"',
    '--queue-rows: must be >= 1, received "0"',
    '--run-rows: must be integer, received "many"',
    'BANKSWITCH_BODY_BYTES: must be integer, received "big"',
    'BANKSWITCH_LOG_LEVEL: one of fatal, error, warn, info, debug, trace, silent, received "loud"'
  ])
})

test('a value that a flag overrides is not looked at', () => {
  assert.equal(loadSettings({ BANKSWITCH_PORT: 'x' }, ['--port=1']).port, 1)
})

test('the address of a collector is one of HTTP, without a password, and is not shown when it is refused', () => {
  const load = (traceUrl: string) => loadSettings({ BANKSWITCH_TRACE_URL: traceUrl }, []).traceUrl
  for (const url of ['http://127.0.0.1:4318/v1/traces', 'https://collector', 'http://[::1]:4318/']) assert.equal(load(url), url)
  for (const url of ['', 'collector:4318', 'ftp://c/hunter2', 'http://', 'http://user:hunter2@c/', 'http://c/a hunter2', `http://${'c'.repeat(2048)}`]) {
    const [fault, ...others] = faultsOf({ BANKSWITCH_TRACE_URL: url })
    assert.deepEqual(others, [])
    assert.match(fault!, /^BANKSWITCH_TRACE_URL: must .*, received "\(secret\)"$/)
    assert.ok(!fault!.includes('hunter2'))
  }
})

describe('the admin key', () => {
  const secret = 'correct-horse-battery'

  test('comes from the environment, within its lengths', () => {
    for (const key of [secret, 'x'.repeat(16), 'x'.repeat(512)]) {
      assert.equal(loadSettings({ BANKSWITCH_ADMIN_KEY: key }, []).adminKey, key)
    }
    assert.ok(!('adminKey' in loadSettings({}, [])))
  })

  test('is not shown when it is refused', () => {
    for (const key of ['hunter2', 'x'.repeat(513), '']) {
      const [fault, ...others] = faultsOf({ BANKSWITCH_ADMIN_KEY: key })
      assert.deepEqual(others, [])
      assert.match(fault!, /^BANKSWITCH_ADMIN_KEY: must NOT have (fewer|more) than \d+ .*, received "\(secret\)"$/)
      assert.ok(key === '' || !fault!.includes(key))
    }
  })

  test('is no flag, and is not shown when someone tries', () => {
    for (const flags of [
      ['--admin-key', secret], [`--admin-key=${secret}`], ['--adminKey', secret], ['-k', secret], [`--key=${secret}`],
      ['--port=1', '--admin-key', secret, '--host', 'x'],
      ['--admin-key', '--', secret],
      ['--host', '--admin-key', secret]
    ]) {
      const faults = faultsOf({}, flags)
      assert.equal(faults.length, 1)
      assert.match(faults[0]!, /^--?[\w-]+: (there is no such flag|a value is missing)$/)
    }
  })

  test('stands in no error, whatever else is wrong', () => {
    for (const fault of faultsOf({ BANKSWITCH_ADMIN_KEY: secret, BANKSWITCH_PORT: 'x' }, ['--nothing'])) {
      assert.ok(!fault.includes(secret))
    }
  })
})

test('whatever it is given, settings within their bounds or CONFIG_INVALID', () => {
  const known = fc.constantFrom(...SETTING_NAMES.map(environmentName))
  const name = fc.oneof(known, fc.string().map((text) => `BANKSWITCH_${text}`))
  const value = fc.oneof(fc.string(), fc.integer().map(String), fc.double().map(String), fc.constant('infinite'))
  const flag = fc.oneof(
    value, fc.constantFrom(...SETTING_NAMES.map((setting) => `--${flagName(setting)}`), '--', '-', '-x', '--no-port', '=')
  )
  const environments = fc.dictionary(name, value, { maxKeys: 3 })
  fc.assert(fc.property(environments, fc.array(flag, { maxLength: 4 }), (environment, flags) => {
    try {
      const { port, host, foldBudget, workers } = loadSettings(environment, flags)
      assert.ok(Number.isInteger(port) && port >= 0 && port < 65536)
      assert.ok(host.length > 0 && foldBudget >= 0 && workers >= 1)
    } catch (error) {
      assert.ok(error instanceof BankswitchError, String(error))
      assert.equal(error.code, 'CONFIG_INVALID')
    }
  }), { seed: runSeed, numRuns: 500 })
})
