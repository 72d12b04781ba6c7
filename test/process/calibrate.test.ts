import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { parseBankSafetensors } from '#src/bank/formats/bank-safetensors.js'
import { painted } from '../imaging/fixtures/pictures.js'
import { temporaryFolder } from '../support/folders.js'
import { runCommand, startProcess } from '../support/process.js'
import { seededNormal } from '../support/random.js'
import { signsSettings } from '../support/signs.js'

const KEY = 'a-key-for-the-tests-only'
const IMAGES = 12

async function prepare (t: TestContext): Promise<{ folder: string, settings: Record<string, string> }> {
  const folder = await temporaryFolder(t)
  const settings = await signsSettings(folder)
  await mkdir(join(folder, 'camera/deep'), { recursive: true })
  const normal = seededNormal(4)
  for (let at = 0; at < IMAGES; at++) {
    const paint = () => Math.max(0, Math.min(255, Math.round(60 + 10 * at + 30 * normal())))
    await writeFile(join(folder, at % 2 === 0 ? 'camera' : 'camera/deep', `${at}.png`), await painted(32, 32, 3, paint).png().toBuffer())
  }
  await writeFile(join(folder, 'camera/notes.txt'), 'no picture')
  return { folder, settings: { ...settings, BANKSWITCH_ADMIN_KEY: KEY } }
}

describe('bankswitch calibrate', () => {
  it('makes a domain of a folder of pictures, which diff then compares, as a table, as JSON and as a picture', async (t) => {
    const { folder, settings } = await prepare(t)
    const made = await runCommand(folder, settings, 'calibrate', '--model', 'traffic-signs', '--domain', 'camera', 'camera')
    assert.equal(made.code, 0, made.stderr)
    assert.match(made.stdout, /^traffic-signs: version 1 of domain camera, active\nmode sequential, 12 of 12 images/)
    assert.match(made.stdout, /12 images are (not )?enough/)
    const table = await runCommand(folder, settings, 'diff', 'traffic-signs/day', 'traffic-signs/camera:1', '--svg', 'diff.svg')
    assert.equal(table.code, 0, table.stderr)
    assert.match(table.stdout, /layer3\.1\.bn2/)
    assert.match(await readFile(join(folder, 'diff.svg'), 'utf8'), /^<svg .*<\/svg>\n$/s)
    const json = JSON.parse((await runCommand(folder, settings, 'diff', '--json', 'traffic-signs/day', 'traffic-signs/camera')).stdout)
    assert.equal(json.layers.length, 15)
    assert.ok(json.layers.every(({ distance, gammaShift }: { distance: number, gammaShift: number }) => distance > 0 && gammaShift === 0))
  })

  it('writes a bank to a file with its sums, and registers nothing', async (t) => {
    const { folder, settings } = await prepare(t)
    const argv = ['--model', 'traffic-signs', '--domain', 'camera', '--mode', 'fixed', '--json', '--out', 'site.safetensors', 'camera']
    const made = await runCommand(folder, settings, 'calibrate', ...argv)
    assert.equal(made.code, 0, made.stderr)
    const result = JSON.parse(made.stdout)
    assert.deepEqual([result.version, result.active, result.images.used], [undefined, false, IMAGES])
    const { layers, ignored, metadata } = parseBankSafetensors(await readFile(join(folder, 'site.safetensors')), [])
    assert.equal(layers.size, 15)
    assert.ok(ignored.includes('bn1.sums.squares'))
    assert.equal(JSON.parse(metadata.get('bankswitch.sums')!).images, IMAGES)
    const other = await runCommand(folder, settings, 'diff', 'traffic-signs/camera', 'site.safetensors')
    assert.equal(other.code, 66, other.stderr)
  })

  it('does it on a running server, beside which nothing else may change the store', async (t) => {
    const { folder, settings } = await prepare(t)
    const server = await startProcess(t, settings, folder)
    const argv = ['calibrate', '--model', 'traffic-signs', '--domain', 'camera', '--json']
    const made = await runCommand(folder, settings, ...argv, '--url', server.address, 'camera')
    assert.equal(made.code, 0, made.stderr)
    assert.equal(JSON.parse(made.stdout).version, 1)
    const domain = await (await fetch(`${server.address}/v1/models/traffic-signs/domains/camera`)).json() as { active: number }
    assert.equal(domain.active, 1)
    const refused = await runCommand(folder, settings, ...argv, '--url', server.address, '--minimum-images', '500', 'camera')
    assert.equal(refused.code, 65)
    assert.match(refused.stderr, /CALIBRATION_TOO_FEW_IMAGES/)
    const wrongKey = await runCommand(folder, { ...settings, BANKSWITCH_ADMIN_KEY: 'another-key-of-length' }, ...argv, '--url', server.address, 'camera')
    assert.equal(wrongKey.code, 77)
    assert.match(wrongKey.stderr, /KEY_UNKNOWN/)

    const named = new RegExp(`in use by process ${server.child.pid} on .* since .*admin API.*--url`)
    const beside = [['register', '--model', 'traffic-signs', '--domain', 'camera', 'camera/0.png'], ['serve', '--port', '0']]
    const all = await Promise.all(beside.map(async (command) => await runCommand(folder, settings, ...command)))
    for (const { code, stderr } of all) {
      assert.equal(code, 73, stderr)
      assert.match(stderr, named)
    }
  })
})
