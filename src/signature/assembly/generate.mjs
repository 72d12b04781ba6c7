/** Compiles the kernel by AssemblyScript, which npx fetches, and writes it as a module: part of `npm run generate`. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const source = new URL('convolution-moments.ts', import.meta.url).pathname
const folder = mkdtempSync(join(tmpdir(), 'bankswitch-kernel-'))
try {
  const wasm = join(folder, 'kernel.wasm')
  execFileSync('npx', [
    '--yes', '--package=assemblyscript@0.28.20', 'asc', source, '--outFile', wasm, '-O3', '--noAssert',
    '--runtime', 'stub', '--enable', 'simd', '--importMemory', '--noExportMemory'
  ], { stdio: 'inherit' })
  const digest = createHash('sha256').update(readFileSync(source)).digest('hex')
  const lines = readFileSync(wasm).toString('base64').match(/.{1,110}/g).map((line) => `  '${line}'`)
  writeFileSync(new URL('../generated/convolution-moments.ts', import.meta.url), [
    '// Made by `npm run generate`; not to be edited.',
    '',
    '/** Of assembly/convolution-moments.ts, which it was made of. */',
    `export const SOURCE_SHA256 = '${digest}'`,
    '',
    '/** In base64. */',
    `export const WASM =\n${lines.join(' +\n')}`,
    ''
  ].join('\n'))
} finally {
  rmSync(folder, { recursive: true, force: true })
}
