import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { deflateRawSync } from 'node:zlib'
import { bytesOf } from '#src/base/bytes.js'
import { BankswitchError } from '#src/base/errors.js'
import { completeBank, type BatchNormLayer } from '#src/bank/bank.js'
import { parseBankNpz } from '#src/bank/formats/bank-npz.js'
import { hasCode } from '../support/errors.js'
import { ROOT } from '../support/folders.js'
import { npyOf, npyVector, npzOf, zip64Field, zipOfEntries, type NpyParts, type NpzEnd, type NpzEntry } from '../support/npz-file.js'

const MIB = 2 ** 20
const LATER = 0xffffffff

const layers: BatchNormLayer[] = [{ key: 'bn1', channels: 3, epsilon: 1e-5 }, { key: 'layer1.0.bn2', channels: 2, epsilon: 1e-5 }]

const golden = (name: string) => readFile(join(ROOT, `test/golden/bank-${name}.npz`))

const isMalformed = hasCode('NPZ_MALFORMED')

async function refuses (file: Uint8Array, pattern: RegExp = /./, code = 'NPZ_MALFORMED'): Promise<void> {
  await assert.rejects(parseBankNpz(file, layers), (error: unknown) => {
    assert.ok(hasCode(code)(error), String(error))
    assert.match((error as Error).message, pattern)
    return true
  })
}

/** The values of `a.running_mean`, an array as told. */
async function meanOf (parts: NpyParts): Promise<ArrayLike<number> | undefined> {
  return (await parseBankNpz(npzOf({ 'a.running_mean': npyOf(parts) }), [])).layers.get('a')?.mean
}

const refusesArray = (parts: NpyParts, pattern: RegExp, code?: string) => refuses(npzOf({ 'a.running_mean': npyOf(parts) }), pattern, code)

describe('what numpy writes, by training/npz_goldens.py', () => {
  for (const name of ['stored', 'deflated', 'piped']) {
    it(`${name}: the bank of a state_dict, whatever type, width and byte order`, async () => {
      const { layers: found, ignored } = await parseBankNpz(await golden(name), layers)
      const numbers = [...found].map(([key, layer]) => {
        return [key, Object.fromEntries(Object.entries(layer).map(([statistic, values]) => [statistic, Array.from(values)]))]
      })
      assert.deepEqual(Object.fromEntries(numbers), {
        bn1: { mean: [-1.5, 0.25, 3], variance: [0.5, 1, 2.75], gamma: [1, -2, 0.125], beta: [0, 4, -0.5] },
        'layer1.0.bn2': { mean: [7.5, -8], variance: [9, 10.5] }
      })
      assert.deepEqual(ignored.toSorted(), ['bn1.num_batches_tracked', 'conv1.weight', 'layer1.0.bn2.num_batches_tracked'])
    })
  }

  it('pickled objects are refused by the name of their array, whatever else is right', async () => {
    await assert.rejects(golden('pickled').then((file) => parseBankNpz(file, layers)), hasCode('NPZ_UNSUPPORTED', {
      array: 'epochs', received: '|O'
    }))
  })

  it('cut off anywhere, or with any byte more, it is refused', async () => {
    for (const name of ['stored', 'deflated', 'piped']) {
      const file = await golden(name)
      for (let length = 0; length < file.length; length += 13) await refuses(file.subarray(0, length))
      await refuses(file.subarray(0, -1))
      for (const one of [Buffer.alloc(1), Buffer.from('PK')]) {
        await refuses(Buffer.concat([one, file]))
        await refuses(Buffer.concat([file, one]))
      }
    }
  })

  it('with any bit of its content, names or sizes flipped, it is refused', async () => {
    const file = Buffer.from(await golden('deflated'))
    let refusals = 0
    for (let at = 0; at < file.length; at += 7) {
      file[at]! ^= 0x10
      await parseBankNpz(file, layers).catch((error: unknown) => {
        assert.ok(error instanceof BankswitchError, String(error))
        refusals++
      })
      file[at]! ^= 0x10
    }
    // Left are dates, versions of writers and attributes, which say nothing.
    assert.ok(refusals > 0.7 * file.length / 7, `${refusals} of ${Math.ceil(file.length / 7)}`)
  })
})

describe('arrays', () => {
  it('of every kind of float, in both byte orders', async () => {
    const swapped = (bytes: Uint8Array, width: 2 | 4 | 8) => {
      const copy = Buffer.from(bytes)
      return { 2: () => copy.swap16(), 4: () => copy.swap32(), 8: () => copy.swap64() }[width]()
    }
    const types = { f2: bytesOf(Uint16Array.of(0x3c00, 0xc000)), f4: bytesOf(Float32Array.of(1, -2)), f8: bytesOf(Float64Array.of(1, -2)) }
    for (const [type, data] of Object.entries(types)) {
      const width = Number(type.slice(1)) as 2 | 4 | 8
      assert.deepEqual(Array.from((await meanOf({ descr: `'<${type}'`, shape: '(2,)', data }))!), [1, -2])
      assert.deepEqual(Array.from((await meanOf({ descr: `'>${type}'`, shape: '(2,)', data: swapped(data, width) }))!), [1, -2])
    }
  })

  it('of versions 1.0, 2.0 and 3.0, and of no other', async () => {
    for (const version of [[1, 0], [2, 0], [3, 0]] as const) assert.equal((await meanOf({ version }))?.length, 2)
    for (const version of [[0, 0], [1, 1], [2, 1], [4, 0], [255, 0]] as const) await refusesArray({ version }, /version 1\.0, 2\.0 or 3\.0/)
  })

  it('of any rank are read row by row; column by column only where that is the same', async () => {
    for (const shape of ['(2,)', '(2, 1)', '(1, 2, 1)', '(2,1,)', '(1,  2)']) {
      for (const order of ['True', 'False']) assert.equal((await meanOf({ shape, order }))?.length, 2, shape)
    }
    assert.equal((await meanOf({ shape: '()', data: new Uint8Array(4) }))?.length, 1)
    assert.equal((await meanOf({ shape: '(0,)', data: new Uint8Array() }))?.length, 0)
    assert.equal((await meanOf({ shape: '(2, 2)', data: new Uint8Array(16) }))?.length, 4)
    await refusesArray({ shape: '(2, 2)', order: 'True', data: new Uint8Array(16) }, /column by column/, 'NPZ_UNSUPPORTED')
  })

  it('whose header has its fields in any order, with any space, and any padding', async () => {
    for (const header of [
      "{'shape': (2,), 'fortran_order': False, 'descr': '<f4'}", "{'descr':'<f4','fortran_order':False,'shape':(2,)}",
      "{ 'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 2, ) }", `{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }${' '.repeat(9000)}\n`
    ]) assert.equal((await meanOf({ header }))?.length, 2, header)
  })

  const refused: Readonly<Record<string, string>> = {
    'is empty': '',
    'is no literal': 'shape',
    'is an expression': "{'descr': '<f4', 'fortran_order': False, 'shape': (1+1,), }",
    'calls something': "{'descr': '<f4', 'fortran_order': False, 'shape': tuple([2]), }",
    'has a list as shape': "{'descr': '<f4', 'fortran_order': False, 'shape': [2], }",
    'has a bare number as shape': "{'descr': '<f4', 'fortran_order': False, 'shape': 2, }",
    'has a number in brackets, which is no tuple': "{'descr': '<f4', 'fortran_order': False, 'shape': (2), }",
    'has a comma too many': "{'descr': '<f4', 'fortran_order': False, 'shape': (2,,), }",
    'has only a comma as shape': "{'descr': '<f4', 'fortran_order': False, 'shape': (,), }",
    'has two numbers without a comma': "{'descr': '<f4', 'fortran_order': False, 'shape': (1 2), }",
    'has a negative size': "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }",
    'has a size that is no integer': "{'descr': '<f4', 'fortran_order': False, 'shape': (2.0,), }",
    'has a size of too many digits': `{'descr': '<f4', 'fortran_order': False, 'shape': (${'1'.repeat(16)},), }`,
    'has a field twice': "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
    'has a field more': "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 'y', }",
    'lacks its type': "{'fortran_order': False, 'shape': (2,), }",
    'lacks its order': "{'descr': '<f4', 'shape': (2,), }",
    'lacks its shape': "{'descr': '<f4', 'fortran_order': False, }",
    'has an order that is no boolean': "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,), }",
    'has the order as text': "{'descr': '<f4', 'fortran_order': 'False', 'shape': (2,), }",
    'has a shape as type': "{'descr': (2,), 'fortran_order': False, 'shape': (2,), }",
    'has an escape in its type': "{'descr': '<f\\x34', 'fortran_order': False, 'shape': (2,), }",
    'has a tail': "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), } or 1",
    'has no comma between fields': "{'descr': '<f4' 'fortran_order': False, 'shape': (2,), }",
    'is not closed': "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), "
  }
  for (const [what, header] of Object.entries(refused)) {
    it(`are refused when their header ${what}`, () => refusesArray({ header }, /header of "a\.running_mean" is refused/))
  }

  it('are refused when the header is longer than the array, or than numpy takes', async () => {
    for (const headerBytes of [10_001, 65_535]) await refusesArray({ headerBytes }, /longer than the array or the limit/)
    for (const headerBytes of [2 ** 31, 2 ** 32 - 1]) await refusesArray({ headerBytes, version: [2, 0] }, /longer than the array or the limit/)
    const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }${' '.repeat(10_000)}\n`
    await refusesArray({ header }, /longer than the array or the limit/)
    await refuses(npzOf({ a: Buffer.alloc(5) }), /no npy array/)
    await refuses(npzOf({ a: new Uint8Array() }), /no npy array/)
    await refuses(npzOf({ a: Buffer.from('\x89PNG\r\n\x1a\n and so on', 'latin1') }), /no npy array/)
  })

  it('are refused when their bytes are more or fewer than their shape says, and when that overflows', async () => {
    for (const shape of ['()', '(1,)', '(3,)', '(2, 2)', '(2, 0)', '(0,)', '(900719925474099,)',
      `(${2 ** 40}, ${2 ** 40})`, `(${2 ** 40}, ${2 ** 40}, 0)`, `(${'9'.repeat(15)}, ${'9'.repeat(15)}, 0)`]) {
      await refusesArray({ shape }, /another size than its shape says/)
    }
  })

  it('that are no numbers are refused by name, statistics or not', async () => {
    for (const descr of ["'|O'", "'O'", "'|O8'"]) {
      await refuses(npzOf({ notes: npyOf({ descr }) }), /"notes" holds pickled objects/, 'NPZ_UNSUPPORTED')
    }
    for (const descr of ["'<U4'", "'|S8'", "'|V8'", "'<M8[ns]'", "'<m8'", "'f4'", "'=f4'", "'|f4'", "'<f16'", "'<f3'", "'<b1'", "'toString'", "''"]) {
      await refuses(npzOf({ notes: npyOf({ descr }) }), /"notes" has the type/, 'NPZ_UNSUPPORTED')
    }
    await refuses(npzOf({ notes: npyOf({ descr: "[('a', '<f4'), ('b', '|O')]" }) }), /"notes" is made of records/, 'NPZ_UNSUPPORTED')
  })

  it('of integers, booleans and complex numbers are ignored, unless they are statistics', async () => {
    for (const descr of ["'<i8'", "'>i4'", "'|b1'", "'|u1'", "'<u2'", "'<c8'"]) {
      const shape = `(${8 / Number(descr.slice(3, -1))},)`
      const { ignored } = await parseBankNpz(npzOf({ 'a.num_batches_tracked': npyOf({ descr, shape }) }), [])
      assert.deepEqual(ignored, ['a.num_batches_tracked'], descr)
      await refusesArray({ descr, shape }, /statistics must be floats/, 'NPZ_UNSUPPORTED')
    }
  })

  it('with NaN and infinities are read, and refused by the check of every bank', async () => {
    for (const value of [NaN, Infinity, -Infinity]) {
      const file = npzOf({ 'a.running_mean': npyVector(0, value), 'a.running_var': npyVector(1, 1) })
      const { layers: found } = await parseBankNpz(file, [])
      assert.throws(() => completeBank([{ key: 'a', channels: 2, epsilon: 1e-5 }], found, new Map()), hasCode('BANK_VALUE_INVALID', {
        layer: 'a', statistic: 'mean', channel: 1
      }))
    }
  })
})

describe('names', () => {
  it('may be those of Object\'s own, empty, or not ASCII, and have wrappers around them', async () => {
    const names = ['__proto__', 'constructor', '', '0', 'ü']
    const entries = names.map((name) => ({ name: `${name}.running_mean.npy`, bytes: npyVector(1), flags: 0x800 }))
    const { layers: found } = await parseBankNpz(zipOfEntries(entries), [])
    assert.deepEqual([...found.keys()], names)
    const wrapped = npzOf({ 'module.bn1.running_mean': npyVector(1, 2, 3), 'module.bn1.running_var': npyVector(1, 2, 3) })
    assert.deepEqual([...(await parseBankNpz(wrapped, layers)).layers.keys()], ['bn1'])
  })

  it('are refused when they stand twice, are paths, or no arrays', async () => {
    const bytes = npyVector(1)
    await refuses(zipOfEntries([{ name: 'a.npy', bytes }, { name: 'a.npy', bytes }]), /"a\.npy" stands in it twice/)
    for (const name of ['/a.npy', '../a.npy', 'x/../../a.npy', 'C:a.npy', '..\\a.npy', 'x\\a.npy']) {
      await refuses(zipOfEntries([{ name, bytes }]), /path|characters/)
    }
    for (const name of ['a', 'a.npy/', 'a.NPY', 'data.pkl', '']) await refuses(zipOfEntries([{ name, bytes }]), /is no array/)
  })

  it('never make an error that grows with the file', async () => {
    const long = 'x'.repeat(60_000)
    for (const file of [
      zipOfEntries([{ name: long, bytes: npyVector(1) }]), zipOfEntries([{ name: `/${long}`, bytes: npyVector(1) }]),
      npzOf({ [long]: npyOf({ shape: '(9,)' }) }), npzOf({ [long]: npyOf({ descr: `'${'y'.repeat(9000)}'` }) }),
      npzOf({ [long]: npyOf({ header: 'z'.repeat(9000) }) }), npzOf({ [`${long}.bias.running_mean`]: npyOf({ descr: "'<i4'" }) })
    ]) {
      await assert.rejects(parseBankNpz(file, layers), (error: unknown) => {
        assert.ok(error instanceof BankswitchError)
        assert.ok(error.message.length < 1000 && JSON.stringify(error.details).length < 1000, error.message)
        return true
      })
    }
  })
})

describe('the zip', () => {
  const bytes = npyVector(1, 2)
  const right: NpzEntry = { name: 'a.running_mean.npy', bytes }
  const deflated: NpzEntry = { ...right, isDeflated: true }
  const descriptor = (crc: number, packed: number, whole: number, isLarge = false, isSigned = true) => {
    const parts = Buffer.alloc(isLarge ? 20 : 12)
    parts.writeUInt32LE(crc, 0)
    if (isLarge) for (const [at, size] of [packed, whole].entries()) parts.writeBigUInt64LE(BigInt(size), 4 + 8 * at)
    else for (const [at, size] of [packed, whole].entries()) parts.writeUInt32LE(size, 4 + 4 * at)
    return isSigned ? Buffer.concat([Buffer.from('504b0708', 'hex'), parts]) : parts
  }
  const piped = (rest: Buffer): NpzEntry => ({ ...right, flags: 8, local: { crc: 0, packed: 0, whole: 0 }, descriptor: rest })
  const crc = crcOf(bytes)

  it('may be empty, or tell its sizes in a zip64 field, or behind an entry', async () => {
    assert.equal((await parseBankNpz(zipOfEntries([]), layers)).layers.size, 0)
    const late: NpzEntry = { ...right, packed: LATER, whole: LATER, extra: zip64Field(bytes.length, bytes.length) }
    const files = [late, ...[[false, false], [false, true], [true, false], [true, true]].map(([isLarge, isSigned]) => {
      return piped(descriptor(crc, bytes.length, bytes.length, isLarge, isSigned))
    })]
    for (const entry of files) assert.equal((await parseBankNpz(zipOfEntries([entry]), [])).layers.size, 1)
  })

  const refused: Readonly<Record<string, [entries: NpzEntry[], end: NpzEnd, pattern: RegExp]>> = {
    'has a comment': [[right], { comment: Buffer.from('hello') }, /plain end/],
    'has something before its directory': [[right], { beforeDirectory: Buffer.alloc(9) }, /where its directory begins/],
    'has something behind its directory': [[right], { beforeEnd: Buffer.alloc(9) }, /directory does not end it/],
    'has a zip64 end': [[right], { beforeEnd: Buffer.from(`504b0607${'00'.repeat(16)}`, 'hex') }, /plain end/],
    'has a directory that begins elsewhere': [[right], { offset: 0 }, /directory does not end it/],
    'counts fewer entries than it lists': [[right, { ...right, name: 'b.npy' }], { entries: 1 }, /larger than its entries/],
    'counts more entries than it lists': [[right], { entries: 2 }, /./],
    'counts no entries, but has some': [[right], { entries: 0 }, /larger than its entries/],
    'has an encrypted entry': [[{ ...right, flags: 1, packed: bytes.length + 12, content: Buffer.alloc(bytes.length + 12) }], {}, /is encrypted/],
    'has a strongly encrypted entry': [[{ ...right, flags: 0x41 }], {}, /encryption/],
    'has an entry packed by another method': [[{ ...right, method: 12 }], {}, /compressed in another way/],
    'has two entries in one place': [[right, { ...right, name: 'b.npy', offset: 0 }], {}, /does not begin where/],
    'has an entry that begins elsewhere': [[{ ...right, offset: 4 }], {}, /does not begin where/],
    'has an entry beyond its end': [[{ ...right, offset: 2 ** 31 }], {}, /does not begin where/],
    'has a hole': [[{ ...right, descriptor: Buffer.alloc(16) }, { ...right, name: 'b.npy' }], {}, /does not begin where/],
    'has an entry of another name than its own header says': [[{ ...right, local: { name: 'b.running_mean.npy' } }], {}, /something else than the directory/],
    'has an entry of another method than its own header says': [[{ ...right, local: { method: 8 } }], {}, /something else/],
    'has an entry with other flags than its own header says': [[{ ...right, local: { flags: 8 } }], {}, /something else/],
    'has an entry with another checksum than its own header says': [[{ ...right, local: { crc: 1 } }], {}, /something else/],
    'has an entry of another size than its own header says': [[{ ...right, local: { whole: 5 } }], {}, /something else/],
    'has an entry of another packed size than its own header says': [[{ ...right, local: { packed: 5 } }], {}, /something else/],
    'has a zip64 field in an entry\'s own header that lies': [
      [{ ...right, local: { packed: LATER, whole: LATER, extra: zip64Field(bytes.length, 1) } }], {}, /something else/
    ],
    'has an entry whose own header leaves its sizes out': [[{ ...right, local: { packed: LATER, whole: LATER } }], {}, /without sizes/],
    'has a zip64 field that is too short': [[{ ...right, whole: LATER, packed: LATER, extra: zip64Field(1) }], {}, /zip64/],
    'has a zip64 field with the largest sizes': [
      [{ ...right, whole: LATER, packed: LATER, extra: zip64Field(2n ** 64n - 1n, 2n ** 64n - 1n) }], {}, /too large together/
    ],
    'has a zip64 field with the largest offset': [
      [{ ...right, offset: LATER, extra: zip64Field(2n ** 64n - 1n) }], {}, /does not begin where/
    ],
    'has an extra field that is longer than itself': [[{ ...right, extra: Buffer.from('0100ffff', 'hex') }], {}, /extra field/],
    'has a stored entry of two sizes': [[{ ...right, whole: 5 }], {}, /size mismatch/],
    'has a wrong checksum': [[{ ...right, crc: 1 }], {}, /is damaged/],
    'has a deflated entry with a wrong checksum': [[{ ...deflated, crc: 1 }], {}, /is damaged/],
    'has a deflated entry that is larger than it says': [[{ ...deflated, whole: bytes.length - 1 }], {}, /larger than|Cannot create/],
    'has a deflated entry that is empty by its word': [[{ ...deflated, whole: 0 }], {}, /./],
    'has a deflated entry that is smaller than it says': [[{ ...deflated, whole: bytes.length + 1 }], {}, /another size than it says/],
    'has a deflated entry that is nonsense': [[{ ...deflated, content: Buffer.alloc(40, 0xff) }], {}, /./],
    'has a deflated entry that is cut off': [[{ ...deflated, content: deflateRawSync(bytes).subarray(0, -3) }], {}, /unexpected end/],
    'has a deflated entry with a tail': [[{ ...deflated, content: Buffer.concat([deflateRawSync(bytes), Buffer.alloc(7)]) }], {}, /bytes left over/],
    'promises a size behind an entry, where there is none': [[piped(Buffer.alloc(0))], {}, /what follows/],
    'has another size behind an entry': [[piped(descriptor(crc, bytes.length, 5))], {}, /what follows/],
    'has another checksum behind an entry': [[piped(descriptor(1, bytes.length, bytes.length))], {}, /what follows/]
  }
  for (const [what, [entries, end, pattern]] of Object.entries(refused)) {
    const code = /encrypted entry|by another method/.test(what) && !what.includes('strongly') ? 'NPZ_UNSUPPORTED' : 'NPZ_MALFORMED'
    it(`is refused when it ${what}`, () => refuses(zipOfEntries(entries, end), pattern, code))
  }

  it('takes as many entries as are allowed, and no more', async () => {
    const many = Array.from({ length: 10_001 }, (_, at) => ({ name: `${at}.npy`, bytes: npyOf({ shape: '(0,)', data: new Uint8Array() }) }))
    assert.equal((await parseBankNpz(zipOfEntries(many.slice(1)), layers)).ignored.length, 10_000)
    await refuses(zipOfEntries(many), /too many entries/)
    await assert.rejects(parseBankNpz(zipOfEntries([], { entries: 65_535 }), layers), hasCode('NPZ_MALFORMED', { received: 65_535 }))
  })

  it('is refused for what it would inflate to, before anything is inflated', async () => {
    const bomb = deflateRawSync(Buffer.alloc(17 * MIB))
    await refuses(zipOfEntries([{ name: 'a.npy', bytes: Buffer.alloc(17 * MIB), content: bomb, method: 8 }]), /too large together/)
    // Each is small enough; the first would fail if it were inflated.
    const part: Omit<NpzEntry, 'name'> = { bytes, content: Buffer.from('nonsense'), method: 8, whole: 9 * MIB }
    await refuses(zipOfEntries([{ name: 'a.npy', ...part }, { name: 'b.npy', ...part }]), /too large together/)
  })

  it('that says less than it inflates to is stopped there', async () => {
    const bomb = deflateRawSync(Buffer.alloc(64 * MIB))
    const before = process.memoryUsage().arrayBuffers
    await assert.rejects(parseBankNpz(zipOfEntries([{ name: 'a.npy', bytes, content: bomb, method: 8 }]), layers), isMalformed)
    assert.ok(process.memoryUsage().arrayBuffers - before < 16 * MIB)
  })
})

/** As the zip writer makes it, for what must repeat or contradict it. */
function crcOf (bytes: Uint8Array): number {
  return zipOfEntries([{ name: '', bytes }]).readUInt32LE(14)
}
