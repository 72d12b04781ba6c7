/** What commands say of a wrong call. test/process shows that a process ends with the same text and code. */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { painted } from '../imaging/fixtures/pictures.js'
import { refusalOf } from '../support/command.js'
import { ROOT, temporaryFolder } from '../support/folders.js'
import { signsSettings } from '../support/signs.js'

const MODEL = join(ROOT, 'models/traffic-signs/model.onnx')

type Case = readonly [argv: readonly string[], code: number, pattern: RegExp]

async function assertRefused (cases: readonly Case[], settings: Record<string, string> = {}): Promise<void> {
  for (const [argv, expected, pattern] of cases) {
    const { code, stderr } = await refusalOf(argv, settings)
    assert.equal(code, expected, `${argv.join(' ')}: ${stderr}`)
    assert.match(stderr, pattern)
  }
}

describe('a wrong call of', () => {
  it('bankswitch itself', async () => {
    await assertRefused([[['severs'], 64, /severs/], [['inspekt'], 64, /inspekt/]])
  })

  it('inspect', async () => {
    await assertRefused([
      [['inspect'], 65, /model/], [['inspect', 'nowhere.onnx'], 65, /nowhere/],
      [['inspect', MODEL, '--shape', '0x3'], 65, /0x3/], [['inspect', MODEL, '--fold-budget', 'much'], 65, /much/],
      [['inspect', MODEL, '--what'], 65, /what/]
    ])
  })

  it('bench', async () => {
    await assertRefused([
      [['bench', 'swatch'], 65, /switch/], [['bench', 'folder'], 65, /one folder/], [['bench', 'folder', 'nowhere'], 65, /nowhere/],
      [['bench', 'switch', MODEL, '--against', 'nowhere.onnx'], 65, /nowhere.onnx/], [['bench', 'folder', '.', '--batch', '0'], 65, /batch/]
    ])
  })

  it('calibrate, diff and register', async (t) => {
    const folder = await temporaryFolder(t)
    const settings = { ...await signsSettings(folder), BANKSWITCH_ADMIN_KEY: 'a-key-for-the-tests-only' }
    const picture = join(folder, 'picture.png')
    await writeFile(picture, await painted(32, 32, 3, () => 100).png().toBuffer())
    const common = ['calibrate', '--model', 'traffic-signs', '--domain', 'x']
    await assertRefused([
      [['calibrate', picture], 65, /model, domain and images are needed/],
      [[...common, '--mood', 'good', picture], 65, /mood/],
      [[...common, '--mode', 'good', picture], 65, /mode must be equal to one of the allowed values/],
      [[...common, '--url', 'http://127.0.0.1:9', '--out', 'f', picture], 65, /exclude each other/],
      [[...common, 'nowhere'], 65, /"nowhere" cannot be read/],
      [[...common, '--url', 'http://127.0.0.1:9', picture], 69, /127\.0\.0\.1:9/],
      [['diff', 'traffic-signs/day'], 65, /two banks are needed/],
      [['diff', 'traffic-signs/day', 'day'], 65, /neither a file \(\.safetensors/],
      [['diff', 'nowhere.json', 'nowhere.json'], 65, /"nowhere.json" cannot be read/],
      [['register', '--model', 'traffic-signs', 'bank.safetensors'], 65, /model, domain and one file are needed/],
      [['register', '--mood', 'good'], 65, /mood/],
      [['register', '--model', 'traffic-signs', '--domain', 'x', 'nowhere.json'], 65, /"nowhere.json" cannot be read/]
    ], settings)
  })

  it('keys, which changes nothing', async (t) => {
    const path = join(await temporaryFolder(t), 'keys.json')
    const settings = { BANKSWITCH_KEYS_FILE: path }
    const id = '0123456789ab'
    const before = JSON.stringify({
      format: 1,
      keys: [{ id, hash: 'a'.repeat(64), label: '', scopes: ['infer'], createdAt: '2024-01-01T00:00:00.000Z' }]
    })
    await writeFile(path, before)
    await assertRefused([
      [['keys'], 65, /add, list or revoke/], [['keys', 'ad'], 65, /add, list or revoke/], [['keys', 'add'], 65, /--scope is one of/],
      [['keys', 'add', '--scope', 'root'], 65, /not "root"/], [['keys', 'add', '--scope', 'infer', 'x'], 65, /'x'/],
      [['keys', 'add', '--scop', 'infer'], 65, /scop/],
      [['keys', 'add', '--scope', 'infer', '--expires', 'soon'], 65, /not "soon"/],
      [['keys', 'add', '--scope', 'infer', '--expires', '0d'], 65, /has passed/],
      [['keys', 'add', '--scope', 'infer', '--expires', '2001-01-01T00:00:00Z'], 65, /has passed/],
      [['keys', 'add', '--scope', 'infer', '--expires', '2999-13-01T00:00:00Z'], 65, /not "2999-13/],
      [['keys', 'add', '--scope', 'infer', '--model', '../x'], 65, /must match pattern/],
      [['keys', 'revoke'], 65, /one id/], [['keys', 'revoke', id, id], 65, /one id/],
      [['keys', 'revoke', '000000000000'], 66, /no key "000000000000"/]
    ], settings)
    assert.equal(await readFile(path, 'utf8'), before)
    await writeFile(path, '{')
    await assertRefused([[['keys', 'list'], 65, /keys/], [['keys', 'add', '--scope', 'infer'], 65, /keys/]], settings)
    assert.equal(await readFile(path, 'utf8'), '{')
  })
})
