/** How a model may be written: operator sets, inputs, outputs, sizes, rows. All compiled exactly. */
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { DataType } from '#src/onnx/tensor.js'
import { end, exact, picture } from '../support/exact.js'
import { GraphBuilder } from '../support/graph-builder.js'

describe('how a model may be written', () => {
  const body = (g: GraphBuilder) => {
    const x = g.input('x', ['n', 3, 16, 16])
    let y = g.relu6(g.batchNorm(g.conv(x, { inputs: 3, outputs: 16, kernel: 3, stride: 2 }), 16))
    y = g.batchNorm(g.conv(y, { inputs: 16, outputs: 16, kernel: 3, group: 16 }), 16)
    y = g.relu(g.batchNorm(g.add(y, g.conv(y, { inputs: 16, outputs: 16 })), 16))
    y = g.node('Flatten', [g.node('GlobalAveragePool', [y])])
    g.output(g.linear(g.batchNorm(y, 16), 16, 5), ['n', 5])
  }
  const versions: Array<[opset: number, irVersion: number]> = [
    [7, 3], [9, 4], [11, 6], [13, 7], [15, 8], [17, 8], [21, 10]
  ]
  exact(versions.map(([opset, irVersion]) => ({
    title: `operator set ${opset}`,
    builder: { opset, irVersion },
    build: (g) => {
      body(g)
      if (irVersion < 4) g.listInitializersAsInputs()
    },
    kinds: [[0, ['affine', 'affine', 'affine', 'generic']], [Infinity, ['fold', 'fold', 'affine', 'generic']]]
  })))
  exact([{
    title: 'initializers that are graph inputs too',
    build: (g) => {
      body(g)
      g.listInitializersAsInputs()
    },
    check: ({ inputs }) => assert.deepEqual(inputs.map(({ name }) => name), ['x']),
    kinds: [[Infinity, ['fold', 'fold', 'affine', 'generic']]]
  }, {
    title: 'a fixed batch of one',
    build: (g) => {
      g.output(g.batchNorm(g.conv(g.input('x', [1, 3, 9, 9]), { inputs: 3, outputs: 8, kernel: 3 }), 8), [1, 8, 9, 9])
    },
    check: ({ proof }) => assert.equal(proof.isRowInvariant, false)
  }, {
    title: 'a fixed batch of four, of which a row is described',
    build: (g) => {
      g.output(g.batchNorm(g.conv(g.input('x', [4, 3, 9, 9]), { inputs: 3, outputs: 8, kernel: 3 }), 8), [4, 8, 9, 9])
    },
    options: { samples: [{ x: [1, 3, 9, 9] }] },
    check: ({ proof }) => assert.equal(proof.isRowInvariant, false)
  }, {
    title: 'sizes that vary, compared in several',
    build: (g) => {
      const x = g.input('x', ['n', 3, 'height', 'width'])
      end(g, g.relu(g.batchNorm(g.conv(x, { inputs: 3, outputs: 8, kernel: 3, stride: 2 }), 8)), 8, 'size')
    },
    options: { samples: [{ x: [1, 3, 9, 12] }, { x: [1, 3, 32, 8] }, { x: [1, 3, 1, 1] }] }
  }, {
    title: 'a second input, of another type and without rows',
    build: (g) => {
      const y = g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 }), 8)
      const gain = g.node('Cast', [g.input('gain', [1], DataType.INT64)], { to: { int: DataType.FLOAT } })
      end(g, g.node('Mul', [g.relu(y), gain]), 8)
    },
    check: ({ inputs, proof }) => {
      assert.deepEqual(inputs.map(({ name }) => name), ['x', 'gain'])
      assert.equal(proof.isRowInvariant, false)
    }
  }, {
    title: 'a second input with rows, which meets the first',
    build: (g) => {
      const y = g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 }), 8)
      const z = g.batchNorm(g.conv(picture(g, 1, 9, 'depth'), { inputs: 1, outputs: 8, kernel: 3 }), 8)
      end(g, g.relu(g.add(y, z)), 8)
    },
    check: ({ proof }) => assert.equal(proof.isRowInvariant, true)
  }, {
    title: 'an input that nothing reads',
    build: (g) => {
      g.input('unused', ['n', 2])
      end(g, g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 }), 8), 8)
    },
    check: ({ inputs }) => assert.deepEqual(inputs.map(({ name }) => name), ['unused', 'x'])
  }, {
    title: 'several outputs, one of them of integers',
    build: (g) => {
      const y = g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 }), 8)
      end(g, g.relu(y), 8)
      g.output(g.node('Shape', [y]), [4], DataType.INT64)
      g.output(g.head(y, 8, 3), ['n', 3])
    },
    check: ({ outputs }) => assert.deepEqual(outputs.map(({ type }) => type), ['float32', 'int64', 'float32'])
  }, {
    title: 'an If whose bodies read batch norms and inputs',
    build: (g) => {
      const x = picture(g, 3)
      const y = g.batchNorm(g.conv(x, { inputs: 3, outputs: 8, kernel: 3 }), 8)
      const other = picture(g, 8, 9, 'other')
      const inner = (opType: string, ...inputs: string[]) => {
        const builder = new GraphBuilder()
        return builder.output(builder.node(opType, inputs, {}, [`${opType}.out`]), ['n', 8, 9, 9])
      }
      const mean = g.node('ReduceMean', [x], { keepdims: { int: 0 } })
      end(g, g.choose(g.node('Greater', [mean, g.scalar(0)]), inner('Relu', y), inner('Add', y, other)), 8)
    }
  }])
})

describe('rows', () => {
  const rows = (title: string, isRowInvariant: boolean, tail: (g: GraphBuilder, y: string) => string) => ({
    title,
    build: (g: GraphBuilder) => {
      const y = g.relu(g.batchNorm(g.conv(picture(g, 3), { inputs: 3, outputs: 8, kernel: 3 }), 8))
      end(g, tail(g, y), 8)
    },
    check: ({ proof }: { proof: { isRowInvariant: boolean } }) => assert.equal(proof.isRowInvariant, isRowInvariant)
  })
  exact([
    rows('do not interact in a convolutional network', true, (_, y) => y),
    rows('interact through a mean over all rows', false, (g, y) => {
      return g.node('Sub', [y, g.node('ReduceMean', [y], { axes: { ints: [0] } })])
    }),
    rows('interact through the number of rows', false, (g, y) => {
      return g.node('Div', [y, g.node('Cast', [g.node('Size', [y])], { to: { int: DataType.FLOAT } })])
    }),
    rows('do not interact through a mean over pixels', true, (g, y) => {
      return g.node('Sub', [y, g.node('ReduceMean', [y], { axes: { ints: [2, 3] } })])
    })
  ])
})
