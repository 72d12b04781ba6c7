import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { splitSequences } from '#src/compiler/source/split-sequences.js'
import { relativeError } from '#src/compiler/prove.js'
import { sampleFeeds } from '#src/compiler/sample-inputs.js'
import { parseModel, serializeModel, type OnnxModel } from '#src/onnx/model.js'
import { openSession } from '#src/ort/session.js'
import { GraphBuilder } from '../support/graph-builder.js'

/** `[n, 6]`, cut along axis 1, and the pieces at these positions as outputs. */
function pieces (sizes: (g: GraphBuilder) => string[], positions: readonly number[], attributes = {}): GraphBuilder {
  const g = new GraphBuilder({ opset: 17 })
  const list = g.node('SplitToSequence', [g.input('x', ['n', 6]), ...sizes(g)], { axis: { int: 1 }, ...attributes }, ['list'])
  for (const [at, position] of positions.entries()) {
    const index = g.ints(`at${at}`, [position])
    Object.assign(g.model.graph.initializer.at(-1)!, { dims: [] })
    g.output(g.node('SequenceAt', [list, index]), ['n', 'size'])
  }
  return g
}

const sized = (...sizes: number[]) => (g: GraphBuilder) => [g.ints('sizes', sizes)]

async function run (model: OnnxModel) {
  const session = await openSession(serializeModel(model), { optimization: 'disabled' })
  try {
    return await session.run(sampleFeeds(session.inputs, { x: [1, 6] }, 2, 3))
  } finally {
    await session.release()
  }
}

async function becomes (g: GraphBuilder, operators: string[]): Promise<void> {
  const model = parseModel(g.bytes())
  assert.equal(splitSequences(model), true)
  assert.deepEqual(model.graph.node.map(({ opType }) => opType), operators)
  const [actual, expected] = [await run(model), await run(parseModel(g.bytes()))]
  assert.deepEqual(Object.keys(actual), Object.keys(expected))
  for (const [name, tensor] of Object.entries(expected)) assert.equal(relativeError(actual[name]!, tensor), 0)
}

function stays (g: GraphBuilder): void {
  assert.equal(splitSequences(parseModel(g.bytes())), false)
}

describe('a list of pieces', () => {
  test('1: is a Split, even when some of them are not taken', async () => {
    await becomes(pieces(sized(1, 2, 3), [0, 1, 2]), ['Split'])
    await becomes(pieces(sized(3, 3), [1, 0]), ['Split'])
    await becomes(pieces(sized(1, 2, 3), [1]), ['Split'])
  })

  test('2: with positions from the end', async () => {
    await becomes(pieces(sized(1, 5), [-1, 0]), ['Split'])
  })

  test('3: that is asked for one of them twice', async () => {
    await becomes(pieces(sized(2, 4), [0, -2, 1]), ['Split', 'Identity'])
  })

  test('4: as many as there are is left alone', () => {
    stays(pieces((g) => {
      const name = g.ints('size', [2])
      Object.assign(g.model.graph.initializer.at(-1)!, { dims: [] })
      return [name]
    }, [0]))
  })

  test('5: without their axis is left alone', () => {
    stays(pieces(() => [], [0], { keepdims: { int: 0 } }))
  })

  test('6: that something else reads, or asks at a place only a request knows, is left alone', () => {
    const measured = pieces(sized(3, 3), [0])
    measured.output(measured.node('SequenceLength', ['list']), [], 7)
    stays(measured)
    const asked = pieces(sized(3, 3), [0])
    asked.output(asked.node('SequenceAt', ['list', asked.input('which', [], 7)]), ['n', 3])
    stays(asked)
    stays(pieces(sized(3, 3), [2]))
  })
})
