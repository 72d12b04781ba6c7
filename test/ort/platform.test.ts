import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { processorFingerprint, runtimeVersion } from '#src/ort/platform.js'

test('the runtime version is that of the installed package', async () => {
  const path = createRequire(import.meta.url).resolve('onnxruntime-node/package.json')
  const { version } = JSON.parse(await readFile(path, 'utf8')) as { version: string }
  assert.equal(runtimeVersion(), version)
})

test('the processor fingerprint is short, fit for a path, and the same at every call', () => {
  assert.match(processorFingerprint(), /^[0-9a-f]{16}$/)
  assert.equal(processorFingerprint(), processorFingerprint())
})
