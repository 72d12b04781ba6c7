/** The commands on a model file, as a script would call them. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { makeNode } from '#src/onnx/node.js'
import { end, picture } from '../support/exact.js'
import { ROOT, temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'
import { cleanEnvironment, MAIN } from '../support/process.js'

const MODEL = join(ROOT, 'models/traffic-signs/model.onnx')
const SHAPE = ['--shape', '1x3x32x32']

interface Outcome {
  code: number
  stdout: string
  stderr: string
  /** Largest resident size in KiB. */
  peakKib: number
}

/** Runs a command; its memory is asked of the system when it ends. */
async function call (...argv: string[]): Promise<Outcome> {
  const script = 'process.on("exit", () => process.stderr.write("\\npeak " + process.resourceUsage().maxRSS))'
  const child = spawn(process.execPath, ['--import', `data:text/javascript,${encodeURIComponent(script)}`, MAIN, ...argv], {
    env: cleanEnvironment({}), stdio: ['ignore', 'pipe', 'pipe']
  })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => { stdout += chunk.toString() })
  child.stderr.on('data', (chunk: Buffer) => { stderr += chunk.toString() })
  const [code] = await once(child, 'close') as [number]
  return { code, stdout, stderr, peakKib: Number(/peak (\d+)$/.exec(stderr)?.[1]) }
}

describe('bankswitch inspect', () => {
  it('shows the plan as a table and as JSON', async () => {
    const table = await call('inspect', MODEL, ...SHAPE)
    assert.equal(table.code, 0)
    assert.match(table.stdout, /layer1\.0\.bn1 +24 +fold +20,832 +196,608/)
    const { stdout, code } = await call('inspect', '--model', MODEL, ...SHAPE, '--json', '--fold-budget', '0')
    assert.equal(code, 0)
    const { batchNorms, layers, bytesPerDomain, weightBytes } = JSON.parse(stdout)
    assert.equal(batchNorms, 'graph')
    assert.equal(layers.length, 15)
    assert.deepEqual(layers[0], {
      key: 'bn1',
      node: layers[0].node,
      channels: 24,
      epsilon: Math.fround(1e-5),
      kind: 'affine',
      bytes: 192,
      activationBytesSaved: 0
    })
    assert.equal(bytesPerDomain, layers.reduce((sum: number, { bytes }: { bytes: number }) => sum + bytes, 0))
    assert.ok(weightBytes > 1_500_000)
  })

  it('says of a model without batch norms what can be done', async (t) => {
    const g = new GraphBuilder()
    end(g, g.conv(picture(g, 3), { inputs: 3, outputs: 4 }), 4)
    const path = join(await temporaryFolder(t), 'folded.onnx')
    await writeFile(path, g.bytes())
    const { code, stdout } = await call('inspect', path)
    assert.equal(code, 0)
    for (const option of ['--reference-state', '--insert-bn', 'optimize=False']) assert.ok(stdout.includes(option), option)
    assert.equal(JSON.parse((await call('inspect', path, '--insert-bn', '--json')).stdout).batchNorms, 'inserted')
  })

  describe('refuses with a reason, in little memory', () => {
    /** Node itself takes some 60 MB, the runtime's library as much again. */
    const PEAK_KIB_MAX = 400 * 1024

    const cases: Array<[string, string, (path: string) => Promise<void>]> = [
      ['what is no ONNX', 'no ONNX model', (path) => writeFile(path, '# a text\n')],
      ['an empty file', 'no ONNX model', (path) => writeFile(path, '')],
      ['2 GB of zeros', 'no ONNX model', async (path) => {
        const file = await open(path, 'w')
        await file.truncate(2_000_000_000)
        await file.close()
      }],
      ['a truncated model', 'no ONNX model', async (path) => {
        const g = new GraphBuilder()
        end(g, g.batchNorm(picture(g, 3), 3), 3)
        await writeFile(path, g.bytes().subarray(0, -7))
      }],
      ['a cycle', 'cycle', async (path) => {
        const g = new GraphBuilder()
        g.push(makeNode('Add', 'first', [picture(g, 3), 'b'], ['a']))
        g.push(makeNode('BatchNormalization', 'second', ['a', ...['s', 'o', 'm', 'v'].map((name) => {
          return g.floats(name, [3], () => 1)
        })], ['b']))
        end(g, 'b', 3)
        await writeFile(path, g.bytes())
      }]
    ]
    for (const [title, message, make] of cases) {
      it(title, async (t) => {
        const path = join(await temporaryFolder(t), 'model.onnx')
        await make(path)
        const { code, stderr, stdout, peakKib } = await call('inspect', path)
        assert.equal(code, 65)
        assert.equal(stdout, '')
        assert.match(stderr, new RegExp(`^bankswitch: .*${message}`))
        assert.ok(peakKib < PEAK_KIB_MAX, `${peakKib} KiB`)
      })
    }
  })
})

describe('bankswitch compile', () => {
  it('fills the cache once, for two processes that want the same', async (t) => {
    const cache = await temporaryFolder(t)
    const argv = ['compile', MODEL, '--cache-dir', cache, '--json']
    const both = await Promise.all([call(...argv), call(...argv)])
    assert.deepEqual(both.map(({ code }) => code), [0, 0])
    assert.equal(both.filter(({ stderr }) => stderr.includes('lower')).length, 1, 'one of them compiled')
    const [first, second] = both.map(({ stdout }) => JSON.parse(stdout))
    assert.deepEqual(await readdir(cache), [first.key])
    assert.equal(first.key, second.key)
    assert.equal(first.bnLayers, 15)
    assert.ok(first.maxRelativeError <= 1e-4)
  })

  it('takes sizes from the manifest beside the graph, as a server does', async (t) => {
    const cache = await temporaryFolder(t)
    const { stdout } = await call('compile', MODEL, '--cache-dir', cache, '--json')
    const server = await call('compile', MODEL, '--cache-dir', cache, '--json', ...SHAPE)
    assert.notEqual(JSON.parse(stdout).key, JSON.parse(server.stdout).key)
  })
})

describe('bankswitch bench', () => {
  it('prints the ratio to the fused session, and what a domain costs', async () => {
    const { code, stdout } = await call('bench', 'switch', '--model', MODEL, ...SHAPE, '--rounds', '5', '--json')
    assert.equal(code, 0)
    const { ratioToFused, maxRelativeError, bytesPerDomain, weightBytes, bnLayers } = JSON.parse(stdout)
    assert.ok(ratioToFused > 0 && Number.isFinite(ratioToFused))
    assert.ok(maxRelativeError <= 1e-4)
    assert.ok(bytesPerDomain <= 0.05 * weightBytes)
    assert.equal(bnLayers, 15)
  })
})
