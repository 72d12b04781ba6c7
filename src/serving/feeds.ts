/** Are these tensors what the model takes, and how many rows do they have? */
import { servingErrors } from './errors.js'
import type { Tensors } from '../ort/rows.js'

export interface Value {
  name: string
  type: string
  dims: ReadonlyArray<number | null>
}

/**
 * Checks feeds against the model's inputs. Returns the number of rows: the size of axis 0 where it varies, else 1.
 * Throws INPUT_UNKNOWN, INPUT_MISSING, INPUT_DATATYPE_MISMATCH, INPUT_SHAPE_MISMATCH with expected and received.
 */
export function checkFeeds (inputs: readonly Value[], feeds: Tensors): number {
  const names = inputs.map(({ name }) => name)
  for (const name of Object.keys(feeds)) {
    if (!names.includes(name)) {
      throw servingErrors.INPUT_UNKNOWN(`the model has no input "${name.slice(0, 100)}"`, {
        expected: names, received: name.slice(0, 100)
      })
    }
  }
  let rows: number | undefined
  for (const { name, type, dims } of inputs) {
    const feed = Object.hasOwn(feeds, name) ? feeds[name] : undefined
    if (feed === undefined) {
      throw servingErrors.INPUT_MISSING(`the input "${name}" is missing`, {
        expected: names, received: Object.keys(feeds)
      })
    }
    if (feed.type !== type) {
      throw servingErrors.INPUT_DATATYPE_MISMATCH(`the input "${name}" has another datatype`, {
        input: name, expected: type, received: feed.type
      })
    }
    const isRowCountEqual = rows === undefined || dims[0] !== null || feed.dims[0] === rows
    if (!isShape(feed.dims, dims) || !isRowCountEqual) {
      throw servingErrors.INPUT_SHAPE_MISMATCH(`the input "${name}" has another shape`, {
        input: name, expected: dims.map((size, axis) => size ?? (axis === 0 ? rows ?? -1 : -1)), received: feed.dims
      })
    }
    if (dims[0] === null) rows = feed.dims[0]
  }
  return rows ?? 1
}

/** Every size at least 1: an empty batch or picture has nothing to infer. */
function isShape (received: readonly number[], expected: ReadonlyArray<number | null>): boolean {
  return received.length === expected.length && received.every((size, axis) => {
    return size >= 1 && (expected[axis] === null || expected[axis] === size)
  })
}
