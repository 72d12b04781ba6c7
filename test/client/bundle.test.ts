/** The TypeScript client in a browser: bundled without anything of Node, and run where there is nothing of Node. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createContext, runInContext } from 'node:vm'
import { build } from 'esbuild'
import { readDocument } from '../support/documents.js'
import { fakeFetch, refusal } from '../support/fake-fetch.js'
import { ROOT } from '../support/folders.js'
import type * as bundled from '@bankswitch/client'

const BUNDLE_BYTES_MAX = 16_384

/** What the client may use, and browsers have. */
const GLOBALS = { AbortSignal, Blob, FormData, Headers, performance, TextDecoder, TextEncoder, URL, URLSearchParams }

describe('the TypeScript client', () => {
  it('has no dependencies, and is of its folder alone', async () => {
    const { dependencies } = JSON.parse(readDocument('clients/typescript/package.json')) as { dependencies?: object }
    assert.equal(dependencies, undefined)
    const { metafile } = await bundle()
    const inputs = Object.keys(metafile.inputs)
    assert.ok(inputs.length > 5)
    assert.deepEqual(inputs.filter((path) => !path.startsWith('clients/typescript/dist/')), [])
  })

  it('is small', async () => {
    const { code } = await bundle()
    assert.ok(code.length < BUNDLE_BYTES_MAX, `${code.length} bytes`)
  })

  it('works where there is nothing of Node', async () => {
    const { code } = await bundle()
    const context = createContext({ ...GLOBALS, location: { href: 'https://page.test/app/' } })
    const { Client, BankswitchError } = runInContext(`${code}; client`, context) as typeof bundled
    const { asked, options } = fakeFetch(refusal(404, 'DOMAIN_NOT_FOUND'), refusal(404, 'DOMAIN_NOT_FOUND'))
    const client = new Client('/nets', options)
    const data = runInContext('Float32Array.of(1, 2)', context) as Float32Array
    await assert.rejects(client.infer('m', { x: { data, shape: [1, 2] } }, { domain: 'fog' }), (error) => {
      return error instanceof BankswitchError && error.code === 'DOMAIN_NOT_FOUND'
    })
    await assert.rejects(client.startCalibration('m', 'fog', [new Blob(['x'])]), BankswitchError)
    assert.deepEqual(asked.map(({ url }) => url), [
      'https://page.test/nets/v2/models/m/infer', 'https://page.test/nets/admin/models/m/domains/fog/calibrations'
    ])
  })
})

async function bundle () {
  const { outputFiles, metafile, warnings } = await build({
    absWorkingDir: ROOT,
    entryPoints: [join(ROOT, 'clients/typescript/dist/index.js')],
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'iife',
    globalName: 'client',
    metafile: true,
    write: false,
    logLevel: 'silent'
  })
  assert.deepEqual(warnings, [])
  return { code: outputFiles[0]!.text, metafile }
}
