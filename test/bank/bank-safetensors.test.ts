import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { bankDigest, completeBank, type Bank, type BatchNormLayer } from '#src/bank/bank.js'
import { parseBankSafetensors, serializeBankSafetensors } from '#src/bank/formats/bank-safetensors.js'
import { parseSafetensors } from '#src/bank/formats/safetensors.js'
import { bytesOf } from '#src/base/bytes.js'
import { hasCode } from '../support/errors.js'
import { runSeed } from '../support/run-seed.js'
import { f32, safetensorsOf, type RawTensor } from '../support/safetensors-file.js'

const layers: BatchNormLayer[] = [
  { key: 'bn1', channels: 2, epsilon: 1e-5 }, { key: 'layer1.0.bn1', channels: 1, epsilon: 1e-5 }
]

const counter: RawTensor = { dtype: 'I64', shape: [], bytes: bytesOf(BigInt64Array.of(9n)) }

/** What `torch.save` would have of a small net, convolutions and all. */
function stateDict (prefix = ''): Record<string, RawTensor> {
  const tensors: Record<string, RawTensor> = {
    'conv1.weight': { dtype: 'F32', shape: [2, 1, 1, 1], bytes: new Uint8Array(8) },
    'bn1.weight': f32(1, 2),
    'bn1.bias': f32(3, 4),
    'bn1.running_mean': f32(5, 6),
    'bn1.running_var': f32(7, 8),
    'bn1.num_batches_tracked': counter,
    'layer1.0.bn1.running_mean': f32(9),
    'layer1.0.bn1.running_var': f32(10),
    'fc.weight': { dtype: 'F16', shape: [1], bytes: new Uint8Array(2) },
    'fc.bias': f32(1)
  }
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [prefix + name, tensor]))
}

/** Layers as plain numbers. */
function numbersOf (file: Uint8Array) {
  const parsed = parseBankSafetensors(file, layers)
  return Object.fromEntries([...parsed.layers].map(([key, layer]) => {
    const statistics = Object.entries(layer).map(([statistic, values]) => [statistic, Array.from(values)])
    return [key, Object.fromEntries(statistics)]
  }))
}

const numbersOfStateDict = {
  bn1: { gamma: [1, 2], beta: [3, 4], mean: [5, 6], variance: [7, 8] }, 'layer1.0.bn1': { mean: [9], variance: [10] }
}

describe('parseBankSafetensors', () => {
  test('finds the statistics in a whole state_dict and lists the rest', () => {
    const file = safetensorsOf(stateDict(), { format: 'pt' })
    assert.deepEqual(numbersOf(file), numbersOfStateDict)
    const { ignored, metadata } = parseBankSafetensors(file, layers)
    assert.deepEqual(ignored, ['conv1.weight', 'bn1.num_batches_tracked', 'fc.weight', 'fc.bias'])
    assert.deepEqual([...metadata], [['format', 'pt']])
  })

  test('sees through the prefixes of training wrappers', () => {
    for (const prefix of ['module.', 'model.', '_orig_mod.', 'backbone.', '_orig_mod.module.', 'module.model.backbone.']) {
      const file = safetensorsOf({ ...stateDict(prefix), 'head.bias': f32(1) })
      assert.deepEqual(numbersOf(file), numbersOfStateDict, prefix)
      const { ignored } = parseBankSafetensors(file, layers)
      assert.ok(ignored.includes(`${prefix}conv1.weight`))
      assert.ok(ignored.includes('head.bias'))
    }
  })

  test('batch norms beside a wrapped network are no part of it', () => {
    const file = safetensorsOf({ ...stateDict('backbone.'), ...stateDict('head.0.') })
    assert.deepEqual(numbersOf(file), numbersOfStateDict)
    assert.ok(parseBankSafetensors(file, layers).ignored.includes('head.0.bn1.running_mean'))
  })

  test('takes no other prefix for a wrapper: its layers are reported under their whole names', () => {
    assert.deepEqual(Object.keys(numbersOf(safetensorsOf(stateDict('net.')))), ['net.bn1', 'net.layer1.0.bn1'])
  })

  test('a plain name wins over a wrapped one, and the wrapped layer is still reported', () => {
    const file = safetensorsOf({ ...stateDict(), 'module.bn1.running_mean': f32(0) })
    assert.deepEqual(Object.keys(numbersOf(file)).sort(), ['bn1', 'layer1.0.bn1', 'module.bn1'])
  })

  test('a model whose own keys begin with a wrapper\'s prefix', () => {
    const wrapped = [{ key: 'model.bn1', channels: 2, epsilon: 1e-5 }]
    const parsed = parseBankSafetensors(safetensorsOf(stateDict('model.')), wrapped)
    assert.deepEqual([...parsed.layers.keys()], ['model.bn1', 'model.layer1.0.bn1'])
    const twice = parseBankSafetensors(safetensorsOf(stateDict('module.model.')), wrapped)
    assert.deepEqual([...twice.layers.keys()], ['model.bn1', 'model.layer1.0.bn1'])
  })

  test('a layer that the model does not have is reported, not ignored', () => {
    for (const suffix of ['running_mean', 'running_var']) {
      const file = safetensorsOf({ ...stateDict(), [`bn7.${suffix}`]: f32(1), 'bn7.weight': f32(2) })
      const parsed = parseBankSafetensors(file, layers)
      assert.deepEqual([...parsed.layers.keys()], ['bn1', 'layer1.0.bn1', 'bn7'])
      assert.throws(() => completeBank(layers, parsed.layers, new Map()), hasCode('BANK_LAYER_UNKNOWN', {
        layer: 'bn7'
      }))
    }
  })

  test('weight and bias alone make no batch norm, except of a layer that the model has', () => {
    const file = safetensorsOf({ 'bn1.weight': f32(1, 2), 'gn.weight': f32(1), 'gn.bias': f32(1) })
    const parsed = parseBankSafetensors(file, layers)
    assert.deepEqual([[...parsed.layers.keys()], parsed.ignored], [['bn1'], ['gn.weight', 'gn.bias']])
  })

  test('names that only look alike are ignored', () => {
    const names = ['running_mean', 'bn1running_mean', 'bn1.running_mean2', 'bn1.Running_mean', 'bn1.mean.x', 'b']
    const file = safetensorsOf(Object.fromEntries(names.map((name) => [name, f32(1)])))
    const parsed = parseBankSafetensors(file, layers)
    assert.deepEqual([parsed.layers.size, parsed.ignored], [0, names])
  })

  test('keys that are names of Object\'s own', () => {
    const file = safetensorsOf({ 'constructor.running_mean': f32(1), '__proto__.running_mean': f32(2) })
    assert.deepEqual([...parseBankSafetensors(file, layers).layers.keys()], ['constructor', '__proto__'])
  })

  test('float64 keeps its precision, 16 bits are widened', () => {
    const file = safetensorsOf({
      'bn1.running_mean': { dtype: 'F64', shape: [2], bytes: bytesOf(Float64Array.of(1 / 3, 1e300)) },
      'bn1.running_var': { dtype: 'F16', shape: [2], bytes: bytesOf(Uint16Array.of(0x3c00, 0x0001)) },
      'bn1.bias': { dtype: 'BF16', shape: [2], bytes: bytesOf(Uint16Array.of(0xc049, 0x7f7f)) }
    })
    assert.deepEqual(numbersOf(file), {
      bn1: { mean: [1 / 3, 1e300], variance: [1, 2 ** -24], beta: [-3.140625, 3.3895313892515355e38] }
    })
  })

  test('statistics that are no floats are refused by name; what is ignored may be of any type', () => {
    const bad = { dtype: 'I64', shape: [2], bytes: new Uint8Array(16) }
    assert.throws(() => parseBankSafetensors(safetensorsOf({ 'bn1.running_mean': bad }), layers), hasCode(
      'SAFETENSORS_UNSUPPORTED', { tensor: 'bn1.running_mean', received: 'I64' }
    ))
    assert.deepEqual(parseBankSafetensors(safetensorsOf({ 'conv.weight': bad }), layers).ignored, ['conv.weight'])
  })

  test('a file that is none is refused', () => {
    assert.throws(() => parseBankSafetensors(Buffer.from('PK\u0003\u0004 a .pth file'), layers), hasCode(
      'SAFETENSORS_MALFORMED'
    ))
  })
})

describe('serializeBankSafetensors', () => {
  const bank: Bank = new Map(layers.map(({ key, channels }, at) => [key, {
    mean: new Float32Array(channels).fill(at + 0.1),
    variance: new Float32Array(channels).fill(at + 1),
    gamma: new Float32Array(channels).fill(-0),
    beta: new Float32Array(channels).fill(2 ** -149)
  }]))

  test('writes PyTorch\'s names, float32, one axis', () => {
    const { tensors } = parseSafetensors(serializeBankSafetensors(bank, new Map()))
    const names = layers.flatMap(({ key }) => ['bias', 'running_mean', 'running_var', 'weight'].map((name) => `${key}.${name}`))
    assert.deepEqual([...tensors.keys()], names)
    for (const { dtype, shape } of tensors.values()) assert.deepEqual([dtype, shape.length], ['F32', 1])
    assert.deepEqual(tensors.get('bn1.running_mean')!.bytes, bytesOf(bank.get('bn1')!.mean))
    assert.deepEqual(tensors.get('bn1.running_var')!.bytes, bytesOf(bank.get('bn1')!.variance))
    assert.deepEqual(tensors.get('bn1.weight')!.bytes, bytesOf(bank.get('bn1')!.gamma))
    assert.deepEqual(tensors.get('bn1.bias')!.bytes, bytesOf(bank.get('bn1')!.beta))
  })

  test('read back it is the same bank, bit for bit, with its metadata', () => {
    const file = serializeBankSafetensors(bank, new Map([['fingerprint', 'f00']]))
    const { layers: read, ignored, metadata } = parseBankSafetensors(file, layers)
    assert.equal(bankDigest(completeBank(layers, read, new Map())), bankDigest(bank))
    assert.deepEqual([ignored, [...metadata]], [[], [['fingerprint', 'f00']]])
  })

  test('any bank is read back bit for bit, whatever its keys are', () => {
    const key = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('module.bn', 'a.weight', '__proto__', '0'))
    const number = fc.float({ noNaN: true, noDefaultInfinity: true })
    const values = fc.array(fc.tuple(number, number, number, number), { minLength: 1, maxLength: 4 })
    fc.assert(fc.property(fc.dictionary(key, values, { minKeys: 1, maxKeys: 4 }), (contents) => {
      const model = Object.entries(contents).map(([name, rows]) => ({ key: name, channels: rows.length, epsilon: 0 }))
      const made: Bank = new Map(Object.entries(contents).map(([name, rows]) => [name, {
        mean: Float32Array.from(rows, ([mean]) => mean),
        variance: Float32Array.from(rows, ([, variance]) => Math.abs(variance)),
        gamma: Float32Array.from(rows, ([,, gamma]) => gamma),
        beta: Float32Array.from(rows, ([,,, beta]) => beta)
      }]))
      const read = parseBankSafetensors(serializeBankSafetensors(made, new Map()), model)
      assert.equal(bankDigest(completeBank(model, read.layers, new Map())), bankDigest(made))
    }), { seed: runSeed })
  })
})
