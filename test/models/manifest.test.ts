import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { BankswitchError } from '#src/base/errors.js'
import {
  inputShapes, parseManifest, readLabels, rowShapes, usualShapes, type ClassificationManifest as Manifest, type PictureManifest
} from '#src/models/manifest.js'
import { entryOf, inputShape, parsePreprocessing, rulesOf } from '#src/models/preprocessing.js'
import { hasCode } from '../support/errors.js'
import { DOUBLER } from '../support/models-folder.js'
import { ROOT, temporaryFolder } from '../support/folders.js'
import { MANIFEST } from './fixtures/manifests.js'

/** The faults of a manifest with some fields changed; none when it is accepted. */
function faultsOf (changes: Record<string, unknown>, folderName = 'signs'): string[] {
  try {
    parseManifest(JSON.stringify({ ...MANIFEST, ...changes }), folderName)
    return []
  } catch (error) {
    hasCode('MANIFEST_INVALID')(error)
    const { message, details: { faults } } = error as BankswitchError
    for (const fault of faults as string[]) assert.ok(message.includes(fault))
    return faults as string[]
  }
}

const input = (changes: Record<string, unknown>) => ({ input: { ...MANIFEST.input, ...changes } })

test('a manifest is returned as it stands', () => {
  assert.deepEqual(parseManifest(JSON.stringify(MANIFEST), 'signs'), MANIFEST)
  const full: Manifest = { ...MANIFEST, description: 'd', licence: 'l', domains: { lowres: { input: {} }, fog: { description: 'd' } } }
  assert.deepEqual(parseManifest(JSON.stringify(full), 'signs'), full)
})

test('the shipped manifest is accepted', async () => {
  const text = await readFile(join(ROOT, 'models/traffic-signs/manifest.json'), 'utf8')
  const manifest = parseManifest(text, 'traffic-signs') as Manifest
  const labels = await readLabels(join(ROOT, 'models/traffic-signs', manifest.labels))
  assert.ok(labels.length > 0)
})

test('what is not JSON is told as that alone, whatever was refused before', () => {
  assert.equal(faultsOf({ name: 7 }).length, 1)
  assert.throws(() => parseManifest('{"format": 1,', 'signs'), (error: BankswitchError) => {
    const faults = error.details.faults as string[]
    assert.equal(faults.length, 1)
    assert.match(faults[0]!, /^it is not JSON/)
    return hasCode('MANIFEST_INVALID')(error)
  })
  for (const text of ['null', '[]', '"signs"', '7']) {
    assert.throws(() => parseManifest(text, 'signs'), hasCode('MANIFEST_INVALID', {
      faults: ['it must be object {"type":"object"}']
    }))
  }
})

for (const key of Object.keys(MANIFEST)) {
  test(`a manifest without ${key} is refused`, () => {
    const faults = faultsOf({ [key]: undefined })
    assert.ok(faults.some((fault) => fault.includes(`"missingProperty":"${key}"`)), faults.join())
  })
}

for (const [where, changes] of [
  ['/format', { format: 2 }],
  ['/name', { name: '../signs' }],
  ['/title', { title: 'x'.repeat(201) }],
  ['/graph', { graph: '../model.onnx' }],
  ['/graph', { graph: 'sub/model.onnx' }],
  ['/graph', { graph: '.hidden' }],
  ['/labels', { labels: '/etc/passwd' }],
  ['/task', { task: 'detection' }],
  ['/defaultDomain', { defaultDomain: 'day:1' }],
  ['/input/size', input({ size: { width: 32 } })],
  ['/input/size/width', input({ size: { width: 4097, height: 1 } })],
  ['/input/size/height', input({ size: { width: 1, height: 0 } })],
  ['/input/colour', input({ colour: 'cmyk' })],
  ['/input/layout', input({ layout: 'HWC' })],
  ['/input/mean/0', input({ mean: ['0', 0, 0] })],
  ['/input/std/1', input({ std: [1, 0, 1] })],
  ['/input/std/2', input({ std: [1, 1, -1] })],
  ['/input/resize/fit', input({ resize: { fit: 'stretch', kernel: 'area' } })],
  ['/input/resize/kernel', input({ resize: { fit: 'fill', kernel: 'nearest' } })],
  ['/input', input({ scale: 255 })],
  ['/output/activation', { output: { name: 'logits', activation: 'tanh' } }],
  ['/domains/lowres', { domains: { lowres: { title: 'x' } } }],
  ['/domains/lowres', { domains: { lowres: null } }],
  ['/domains/lowres/description', { domains: { lowres: { description: 'x'.repeat(2001) } } }],
  ['/domains/lowres/input', { domains: { lowres: { input: { name: 'x' } } } }],
  ['/domains/lowres/input/size', { domains: { lowres: { input: { size: { width: 3 } } } } }],
  ['it', { adminKey: 'x' }]
] as const) {
  test(`a manifest with ${JSON.stringify(changes).slice(0, 60)} is refused at ${where}`, () => {
    const faults = faultsOf(changes)
    assert.ok(faults.some((fault) => fault.startsWith(`${where} `)), faults.join('\n'))
  })
}

const image = (changes: Record<string, unknown>) => ({ ...DOUBLER, name: 'signs', labels: undefined, ...changes })

test('an image-to-image manifest is accepted as it stands, with other colours for a domain', () => {
  assert.deepEqual(faultsOf(image({})), [])
  assert.deepEqual(faultsOf(image({ domains: { dark: { input: { mean: [0.1, 0.1, 0.1] } } } })), [])
})

for (const [where, changes] of [
  ['it', image({ labels: 'labels.json' })],
  ['/domainFrom', image({ domainFrom: 'inputSize' })],
  ['/input', image({ input: { ...DOUBLER.input, size: { width: 8, height: 8 } } })],
  ['/output', image({ output: { name: 'y', activation: 'none' } })],
  ['/output/scale', image({ output: { ...DOUBLER.output, scale: 1.5 } })],
  ['/output/scale', image({ output: { ...DOUBLER.output, scale: 9 } })],
  ['/output', image({ output: { ...DOUBLER.output, white: 0 } })],
  ['/tiling', image({ tiling: { tile: 32, overlap: 16, multipleOf: 1 } })],
  ['/tiling', image({ tiling: { tile: 33, overlap: 5, multipleOf: 2 } })],
  ['/tiling/tile', image({ tiling: { tile: 5000, overlap: 5, multipleOf: 1 } })],
  ['/domains/dark/input', image({ domains: { dark: { input: { size: { width: 8, height: 8 } } } } })],
  ['/domains/dark', image({ domains: { dark: { input: { mean: [0] } } } })],
  ['/domainFrom', { domainFrom: 'header' }]
] as const) {
  test(`a manifest with ${JSON.stringify(changes).slice(-60)} is refused at ${where}`, () => {
    const faults = faultsOf(changes)
    assert.ok(faults.some((fault) => fault.startsWith(`${where} `)), faults.join('\n'))
  })
}

test('an image-to-image model is compiled for a square and a small oblong, and made warm for whole tiles', () => {
  const shapes = (tiling: object) => inputShapes(parseManifest(JSON.stringify(image({ tiling })), 'signs') as PictureManifest)
  assert.deepEqual(shapes({ tile: 32, overlap: 5, multipleOf: 1 }), [[1, 3, 32, 32], [1, 3, 6, 7]])
  assert.deepEqual(shapes({ tile: 64, overlap: 5, multipleOf: 4 }), [[1, 3, 64, 64], [1, 3, 8, 12]])
  assert.deepEqual(shapes({ tile: 1, overlap: 0, multipleOf: 1 }), [[1, 3, 1, 1]])
  assert.deepEqual(shapes({ tile: 192, overlap: 19, multipleOf: 1 }), [[1, 3, 64, 64], [1, 3, 20, 21]])
  assert.deepEqual(shapes({ tile: 800, overlap: 90, multipleOf: 20 }), [[1, 3, 100, 100], [1, 3, 100, 120]])
  const large = parseManifest(JSON.stringify(image({ tiling: { tile: 192, overlap: 19, multipleOf: 1 } })), 'signs') as PictureManifest
  assert.deepEqual(usualShapes(large), [[1, 3, 192, 192]])
  assert.deepEqual(usualShapes(MANIFEST), inputShapes(MANIFEST))
})

test('registered preprocessing is checked against the task and goes before the manifest\'s', () => {
  const manifest = parseManifest(JSON.stringify({ ...MANIFEST, domains: { low: { input: { size: { width: 16, height: 16 } } } } }), 'signs')
  const given = { mean: [0, 0, 0], size: { width: 8, height: 8 } }
  assert.deepEqual(parsePreprocessing(manifest, 'low', given), given)
  assert.deepEqual(rulesOf(manifest as Manifest, 'low', given).size, given.size)
  assert.deepEqual(rulesOf(manifest as Manifest, 'low').size, { width: 16, height: 16 })
  for (const [wrong, fault] of [
    [null, /must be object/], [[], /must be object/], ['x', /must be object/], [{ means: [] }, /additional/], [{ mean: [0] }, /3 values for rgb/],
    [{ colour: 'grey' }, /1 values for grey/], [{ std: [0, 1, 1] }, />/], [{ size: { width: 8 } }, /height/], [{ mean: [1, '2', 3] }, /number/]
  ] as const) {
    assert.throws(() => parsePreprocessing(manifest, 'low', wrong), (error: BankswitchError) => {
      assert.match(error.message, fault)
      return hasCode('PREPROCESSING_INVALID')(error)
    })
  }
  const images = parseManifest(JSON.stringify(image({})), 'signs')
  assert.deepEqual(parsePreprocessing(images, 'low', { mean: [1, 1, 1] }), { mean: [1, 1, 1] })
  assert.throws(() => parsePreprocessing(images, 'low', { size: { width: 8, height: 8 } }), hasCode('PREPROCESSING_INVALID'))
})

test('overrides for a domain that can have no such name are refused, not ignored', () => {
  for (const name of ['low res', '../lowres', '.lowres', '', 'low:res']) {
    for (const value of [null, {}, { anything: 1 }]) {
      assert.ok(faultsOf({ domains: { [name]: value } }).some((fault) => fault.startsWith('/domains ')), name)
    }
  }
  const text = JSON.stringify({ ...MANIFEST, domains: {} }).replace('"domains":{}', '"domains":{"__proto__":null}')
  assert.throws(() => parseManifest(text, 'signs'), hasCode('MANIFEST_INVALID'))
})

test('every fault of the form is listed', () => {
  const faults = faultsOf({ format: 2, title: 7, labels: undefined, ...input({ layout: 'x', mean: [] }) })
  for (const where of ['it ', '/format ', '/title ', '/input/layout ', '/input/mean ']) {
    assert.ok(faults.some((fault) => fault.startsWith(where)), `${where}: ${faults.join('\n')}`)
  }
})

test('every fault between fields is listed', () => {
  assert.deepEqual(faultsOf({
    ...input({ mean: [0], std: [1, 1] }),
    domains: {
      dark: { input: { colour: 'grey', mean: [0], std: [1] } },
      grey: { input: { colour: 'grey' } },
      fine: { input: { mean: [0, 0, 0], std: [1, 1, 1] } },
      four: { input: { mean: [0, 0, 0, 0], std: [1, 1, 1, 1] } }
    }
  }, 'plates'), [
    '/name must be the folder\'s name "plates"',
    '/input mean must have 3 values for rgb',
    '/input std must have 3 values for rgb',
    '/domains/grey std must have 1 values for grey',
    '/domains/four mean must have 3 values for rgb',
    '/domains/four std must have 3 values for rgb'
  ])
})

test('a domain overrides what it names and nothing else', () => {
  const { name: _name, ...rules } = MANIFEST.input
  const lowres = { size: { width: 16, height: 16 }, resize: { fit: 'contain', kernel: 'cubic' } } as const
  const told = { description: 'told' }
  const manifest: Manifest = { ...MANIFEST, domains: { lowres: { input: lowres }, empty: { input: {} }, told } }
  assert.deepEqual(rulesOf(manifest, 'lowres'), { ...rules, ...lowres })
  assert.deepEqual(entryOf(manifest, 'told'), told)
  assert.equal(entryOf(manifest, 'toString'), undefined)
  assert.equal(entryOf(MANIFEST, 'told'), undefined)
  for (const domain of ['empty', 'told', 'unheard', 'constructor', 'toString']) {
    assert.deepEqual(rulesOf(manifest, domain), rules)
    assert.deepEqual(rulesOf(MANIFEST, domain), rules)
  }
  assert.equal('name' in rulesOf(manifest, 'lowres'), false)
})

test('an input shape follows layout and colour', () => {
  const rules = rulesOf({ ...MANIFEST, ...input({ size: { width: 5, height: 7 } }) } as Manifest, 'day')
  assert.deepEqual(inputShape(rules), [1, 3, 7, 5])
  assert.deepEqual(inputShape({ ...rules, layout: 'NHWC' }), [1, 7, 5, 3])
  assert.deepEqual(inputShape({ ...rules, colour: 'grey' }), [1, 1, 7, 5])
  assert.deepEqual(inputShape({ ...rules, colour: 'bgr' }), [1, 3, 7, 5])
})

test('input shapes are those that domains use, each once, the default domain\'s first', () => {
  assert.deepEqual(inputShapes(MANIFEST), [[1, 3, 32, 32]])
  const size = (side: number) => ({ input: { size: { width: side, height: side } } })
  const manifest: Manifest = {
    ...MANIFEST, domains: { a: size(16), b: size(32), c: size(16), d: { input: { mean: [0, 0, 0] } }, e: size(8) }
  }
  assert.deepEqual(inputShapes(manifest), [[1, 3, 32, 32], [1, 3, 16, 16], [1, 3, 8, 8]])
  const other: Manifest = { ...manifest, defaultDomain: 'e' }
  assert.deepEqual(inputShapes(other)[0], [1, 3, 8, 8])
})

test('labels are an array of strings', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'labels.json')
  await writeFile(path, '["stop", "yield", ""]')
  assert.deepEqual(await readLabels(path), ['stop', 'yield', ''])
  for (const text of ['', '{}', '"stop"', '["stop", 7]', '[null]', '["stop"']) {
    await writeFile(path, text)
    await assert.rejects(readLabels(path), hasCode('MANIFEST_INVALID'))
  }
  await writeFile(path, `[${Array(1_000_001).fill('""').join()}]`)
  await assert.rejects(readLabels(path), hasCode('MANIFEST_INVALID'))
  await assert.rejects(readLabels(join(folder, 'none.json')), hasCode('MANIFEST_INVALID'))
  await mkdir(join(folder, 'folder.json'))
  await assert.rejects(readLabels(join(folder, 'folder.json')), hasCode('MANIFEST_INVALID'))
})

test('a model for tensors says the shape of every input, and nothing of pictures', () => {
  const { format, name, title, graph, defaultDomain } = MANIFEST
  const inputs = { image: { shape: [1, 3, 32, 32] }, scale: { shape: [1, 2] } }
  const given = { format, name, title, graph, defaultDomain, task: 'tensors', inputs }
  const manifest = parseManifest(JSON.stringify(given), 'signs')
  assert.deepEqual(manifest, given)
  for (const kind of ['proven', 'usual'] as const) {
    assert.deepEqual(rowShapes(manifest, kind), [{ image: [1, 3, 32, 32], scale: [1, 2] }])
  }
  assert.throws(() => parsePreprocessing(manifest, 'day', { colour: 'grey' }), hasCode('PREPROCESSING_INVALID'))
  for (const wrong of [{ inputs: {} }, { inputs: { image: { shape: [0] } } }, { labels: 'l.json' }, { inputs: undefined }]) {
    assert.throws(() => parseManifest(JSON.stringify({ ...given, ...wrong }), 'signs'), hasCode('MANIFEST_INVALID'))
  }
})
