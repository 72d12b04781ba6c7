/** The rules of the house that a reader could break without noticing. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { describe, it } from 'node:test'
import { ROOT } from '../support/folders.js'

/** Rooms from the ground up: a file may import its own room and rooms above it in this list. */
const ROOMS = [
  'base', 'config', 'observability', 'access', 'onnx', 'bank', 'signature', 'imaging', 'ort', 'compiler', 'store', 'models', 'runtime',
  'calibration', 'drift', 'serving',
  'engine.ts', 'http', 'cli', 'main.ts'
]

/** Code for browsers: no room imports it, and it imports of the rooms only what is pure, and the client. */
const WEB = 'web'
const WEB_MAY_IMPORT = ['web', 'base', 'bank']

/** Rooms of serving/ from the ground up, each with its door; what all of them share lies beside them. */
const SERVING: ReadonlyArray<readonly [room: string, door: string]> = [
  ['', ''], ['heating', 'hot-domains.ts'], ['recognising', 'recognition.ts'], ['watching', 'drift.ts'], ['answering', 'answering.ts'], ['changing', 'administration.ts'],
  ['preparing', 'preparation.ts'], ['calibrating', 'calibrations.ts'], ['collecting', 'candidates.ts']
]

/** Packages with one door. */
const DOORS: Readonly<Record<string, string>> = {
  'onnxruntime-node': 'ort',
  sharp: 'imaging',
  fastify: 'http',
  pino: 'observability',
  'prom-client': 'observability',
  pg: 'store',
  '@opentelemetry/api': 'observability',
  '@opentelemetry/sdk-trace-base': 'observability',
  '@opentelemetry/exporter-trace-otlp-http': 'observability'
}

const FILE_LINES_MAX = 300

const SRC = join(ROOT, 'src')

function sources (folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name) && !entry.parentPath.includes('generated'))
    .map((entry) => join(entry.parentPath, entry.name))
}

const roomOf = (file: string) => relative(SRC, file).split('/')[0]!

interface Import { from: string, to: string, isTypeOnly: boolean }

function importsOf (file: string): Import[] {
  const text = readFileSync(file, 'utf8')
  const found = [...text.matchAll(/^(?:import|export)\s+(type\s)?[^'"]*?from\s+['"]([^'"]+)['"]/gm)]
  const bare = [...text.matchAll(/^import\s+['"]([^'"]+)['"]/gm)].map((match) => ['', undefined, match[1]] as const)
  return [...found, ...bare].map((match) => ({ from: file, to: match[2]!, isTypeOnly: match[1] !== undefined }))
}

const files = sources(SRC)
const targetOf = ({ from, to }: Import) => {
  const path = resolve(dirname(from), to.replace(/\.js$/, '.ts'))
  return existsSync(path) ? path : path.replace(/\.ts$/, '.tsx')
}
const clientFiles = sources(join(ROOT, 'clients/typescript/src'))
const imports = files.flatMap(importsOf)

describe('the house', () => {
  it('has only the rooms it says it has', () => {
    assert.deepEqual(readdirSync(SRC).toSorted(), [...ROOMS, WEB].toSorted())
  })

  it('sees imports at all', () => {
    assert.ok(imports.length > 200, `found ${imports.length}`)
  })

  it('keeps what runs in browsers apart: nothing imports it, and it imports nothing that only Node has', () => {
    const seen = new Set<string>()
    const visit = (file: string): void => {
      if (seen.has(file)) return
      seen.add(file)
      for (const one of importsOf(file)) {
        if (one.isTypeOnly) continue
        if (one.to.startsWith('.')) visit(targetOf(one))
        else assert.ok(/^preact(\/hooks)?$/.test(one.to), `${relative(SRC, file)} imports ${one.to}`)
      }
    }
    visit(join(SRC, WEB, 'app.tsx'))
    assert.deepEqual(files.filter((file) => roomOf(file) === WEB && !seen.has(file)).map((file) => relative(SRC, file)), [])
    const rooms = [...seen].filter((file) => !clientFiles.includes(file)).map(roomOf)
    assert.deepEqual(rooms.filter((room) => !WEB_MAY_IMPORT.includes(room)), [])
  })

  it('imports downwards only', () => {
    const wrong = imports.filter(({ from, to }) => {
      if (!to.startsWith('.')) return false
      const target = roomOf(targetOf({ from, to, isTypeOnly: false }))
      if (roomOf(from) === WEB) return false
      if (target === WEB) return true
      return ROOMS.indexOf(target) > ROOMS.indexOf(roomOf(from))
    })
    assert.deepEqual(wrong.map(({ from, to }) => `${relative(SRC, from)} -> ${to}`), [])
  })

  it('has no circle of files, types included', () => {
    const edges = new Map<string, string[]>()
    for (const { from, to } of imports) {
      if (!to.startsWith('.')) continue
      edges.set(from, [...edges.get(from) ?? [], targetOf({ from, to, isTypeOnly: false })])
    }
    const done = new Set<string>()
    const visit = (file: string, path: string[]): void => {
      assert.ok(!path.includes(file), `circle: ${[...path, file].map((one) => relative(SRC, one)).join(' -> ')}`)
      if (done.has(file)) return
      for (const next of edges.get(file) ?? []) visit(next, [...path, file])
      done.add(file)
    }
    for (const file of files) visit(file, [])
  })

  it('has rooms in serving/ that import downwards, each through its door; only the engine builds what is behind it', () => {
    const order = SERVING.map(([room]) => room)
    const place = (file: string) => {
      const [first, second, third] = relative(SRC, file).split('/')
      if (first !== 'serving') return undefined
      return third === undefined ? { room: '', name: second! } : { room: second!, name: third }
    }
    const seen = new Set<string>()
    const wrong = imports.filter(({ from, to }) => {
      if (!to.startsWith('.')) return false
      const [user, used] = [from, resolve(dirname(from), to.replace(/\.js$/, '.ts'))].map(place)
      if (used === undefined) return false
      seen.add(used.room)
      if (user !== undefined && order.indexOf(used.room) > order.indexOf(user.room)) return true
      if (used.room === '' || used.room === user?.room || roomOf(from) === 'engine.ts') return false
      return used.name !== new Map(SERVING).get(used.room)
    })
    assert.deepEqual(wrong.map(({ from, to }) => `${relative(SRC, from)} -> ${to}`), [])
    assert.deepEqual([...seen].toSorted(), order.toSorted())
  })

  it('lets each native or framework package in by one door', () => {
    const wrong = imports.filter(({ from, to }) => {
      const door = DOORS[to]
      return door !== undefined && roomOf(from) !== door
    })
    assert.deepEqual(wrong.map(({ from, to }) => `${relative(SRC, from)} imports ${to}`), [])
  })

  it('keeps the inference thread small: nothing of the server reaches it', () => {
    const seen = new Set<string>()
    const visit = (file: string): void => {
      if (seen.has(file)) return
      seen.add(file)
      for (const { to, isTypeOnly } of importsOf(file)) {
        if (isTypeOnly) continue
        if (to.startsWith('.')) visit(resolve(dirname(file), to.replace(/\.js$/, '.ts')))
        else assert.ok(to.startsWith('node:') || to === 'onnxruntime-node', `${file} imports ${to}`)
      }
    }
    visit(join(SRC, 'runtime/worker.ts'))
    assert.deepEqual([...new Set([...seen].map(roomOf))].toSorted(), ['bank', 'base', 'ort', 'runtime'])
  })

  it('reads the environment in cli only; a library may be switched elsewhere', () => {
    const wrong = files.filter((file) => roomOf(file) !== 'cli' && /process\.env\b(?!\.\w+ = )/.test(readFileSync(file, 'utf8')))
    assert.deepEqual(wrong.map((file) => relative(SRC, file)), [])
  })

  it('has files that can be read in a few minutes', () => {
    const long = [...files, ...clientFiles].map((file) => [relative(SRC, file), readFileSync(file, 'utf8').split('\n').length] as const)
      .filter(([, lines]) => lines > FILE_LINES_MAX)
    assert.deepEqual(long, [])
  })

  it('opens every file with what it is for, or is small and plain', () => {
    const silent = [...files, ...clientFiles].filter((file) => {
      const text = readFileSync(file, 'utf8').replace(/^#!.*\n/, '')
      return !text.startsWith('/**') && text.split('\n').length > 40
    })
    assert.deepEqual(silent.map((file) => relative(SRC, file)), [])
  })

  it('runs every test file once: those of a room together, those that are mostly other processes one by one', () => {
    const testFiles = sources(join(ROOT, 'test')).filter((file) => file.endsWith('.test.ts'))
    const folders = [...new Set(testFiles.map((file) => relative(join(ROOT, 'test'), dirname(file))))]
    const rooms = testFiles.filter((file) => dirname(file).endsWith('/by-room')).map((file) => {
      const [, room] = /^await together\('(\w+)'\)$/m.exec(readFileSync(file, 'utf8'))!
      assert.equal(basename(file), `${room}.test.ts`)
      return room!
    })
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
    for (const script of ['test', 'coverage']) {
      const inBrowser = scripts['test:ui']!
      const alone = [...`${scripts[script]} ${inBrowser}`.matchAll(/build\/test\/([\w-]+)\/\*\.test\.js/g)].map(([, folder]) => folder!)
      assert.deepEqual([...rooms, ...alone].toSorted(), folders.toSorted(), script)
    }
  })

  it('has no sleeping tests and no unfinished notes', () => {
    const tests = sources(join(ROOT, 'test'))
    const sleepers = tests.filter((file) => /setTimeout|timers\/promises/.test(readFileSync(file, 'utf8')) && !file.includes('/house/'))
    assert.deepEqual(sleepers.map((file) => relative(ROOT, file)), [])
    const unfinished = [...files, ...tests].filter((file) => {
      return !file.includes('/house/') && /\b(FIXME|XXX|TODO)\b/.test(readFileSync(file, 'utf8'))
    })
    assert.deepEqual(unfinished.map((file) => relative(ROOT, file)), [])
  })
})
