import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { channel } from 'node:diagnostics_channel'
import { describe, test, type TestContext } from 'node:test'
import { readArtefact } from '#src/compiler/artefact.js'
import { PASSES } from '#src/compiler/passes.js'
import { compileInProcess, type CompileRequest } from '#src/compiler/compile-process.js'
import type { ChildProcess } from 'node:child_process'
import { errorAgainstOriginal, TOLERANCE } from '../support/compile.js'
import { hasCode } from '../support/errors.js'
import { end, picture } from '../support/exact.js'
import { temporaryFolder } from '../support/folders.js'
import { GraphBuilder } from '../support/graph-builder.js'

function network (): GraphBuilder {
  const g = new GraphBuilder()
  end(g, g.relu(g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 16, kernel: 3 }), 16)), 16)
  return g
}

async function requestFor (t: TestContext, bytes: Uint8Array): Promise<CompileRequest> {
  const path = join(await temporaryFolder(t), 'model.onnx')
  await writeFile(path, bytes)
  return { source: { path, origin: 'graph' }, folder: await temporaryFolder(t), options: { foldBudget: Infinity, samples: [] } }
}

/** The processes that are started while a test runs. */
function watchChildren (t: TestContext): ChildProcess[] {
  const children: ChildProcess[] = []
  const watch = (message: unknown) => { children.push((message as { process: ChildProcess }).process) }
  channel('child_process').subscribe(watch)
  t.after(() => channel('child_process').unsubscribe(watch))
  return children
}

async function assertGone (children: readonly ChildProcess[]): Promise<void> {
  assert.equal(children.length, 1)
  const [child] = children as [ChildProcess]
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
}

const ignore = () => {}

test('compiles, tells its progress, and leaves no process', async (t) => {
  const children = watchChildren(t)
  const bytes = network().bytes()
  const request = await requestFor(t, bytes)
  const steps: string[] = []
  const controller = new AbortController()
  await compileInProcess(request, (pass, round) => { steps.push(`${pass} ${round}`) }, controller.signal)
  controller.abort(new Error('too late'))
  assert.deepEqual(steps, PASSES.map(({ name }) => `${name} 1`))
  const artefact = await readArtefact(request.folder)
  assert.equal(artefact.sites[0]!.kind, 'fold', 'a budget of Infinity survives the way')
  assert.ok(await errorAgainstOriginal(bytes, artefact) <= TOLERANCE)
  await assertGone(children)
})

describe('a refused model gives the compiler\'s own error', () => {
  test('with code, kind, message and details', async (t) => {
    const g = new GraphBuilder()
    const y = g.batchNorm(g.relu(picture(g, 3)), 3)
    g.model.graph.node.at(-1)!.input[4] = g.input('variance', [3])
    g.model.graph.node.at(-1)!.name = 'bn/dynamic'
    end(g, y, 3)
    const children = watchChildren(t)
    const compiling = compileInProcess(await requestFor(t, g.bytes()), ignore)
    await assert.rejects(compiling, (error: Error & { kind?: string }) => {
      assert.equal(error.kind, 'unsupported')
      assert.match(error.message, /"bn\/dynamic" \(BatchNormalization\)/)
      return hasCode('COMPILE_BATCH_NORM_DYNAMIC', { node: 'bn/dynamic', slot: 4 })(error)
    })
    await assertGone(children)
  })

  test('a file that is not there', async (t) => {
    const request = await requestFor(t, network().bytes())
    request.source.path = join(await temporaryFolder(t), 'no.onnx')
    await assert.rejects(compileInProcess(request, ignore), /ENOENT/)
  })
})

test('a killed child gives COMPILE_CRASHED', async (t) => {
  const children = watchChildren(t)
  const request = await requestFor(t, network().bytes())
  const compiling = compileInProcess(request, (step) => {
    if (step === 'probe') children[0]!.kill('SIGKILL')
  })
  await assert.rejects(compiling, hasCode('COMPILE_CRASHED', { code: null, signal: 'SIGKILL' }))
  await assertGone(children)
})

describe('abort', () => {
  test('ends the child and rejects with the reason', async (t) => {
    const children = watchChildren(t)
    const controller = new AbortController()
    const reason = new Error('the server stops')
    const compiling = compileInProcess(await requestFor(t, network().bytes()), (step) => {
      if (step === 'probe') controller.abort(reason)
    }, controller.signal)
    await assert.rejects(compiling, reason)
    await assertGone(children)
  })

  test('before the start nothing is started', async (t) => {
    const children = watchChildren(t)
    const reason = new Error('the server stops')
    await assert.rejects(
      compileInProcess(await requestFor(t, network().bytes()), ignore, AbortSignal.abort(reason)), reason
    )
    assert.equal(children.length, 0)
  })
})
