/**
 * A picture as overlapping tiles, and their results as one picture again.
 *
 * Along one axis of length n, windows of side t overlap so far that every pixel of a window's core lies at least
 * `overlap` pixels from each edge of the window that is no edge of the picture. The cores are a partition. A net whose
 * output pixel sees no farther than `overlap` therefore computes in a core what it would compute in the whole picture,
 * up to the rounding of float32; the edge of the picture is an edge of its window, so the net pads there as always.
 *
 * Windows begin at multiples of `multipleOf`, which keeps the phase of strided layers. All windows of an axis have one
 * length, so that the runtime meets few shapes.
 */

export interface Tiling {
  /** Largest side of a window; a multiple of `multipleOf`, and at least 2 * overlap + multipleOf. */
  tile: number
  overlap: number
  multipleOf: number
}

/** Half-open, in pixels of the input. */
export interface Span { begin: number, end: number }

export interface AxisTile {
  /** What the net is fed; may reach past the picture up to the next multiple, where the edge is repeated. */
  window: Span
  /** What of its result is kept. */
  core: Span
}

export interface Tile {
  x: AxisTile
  y: AxisTile
}

/** Windows and cores of an axis of `length` pixels. */
export function axisTiles (length: number, { tile, overlap, multipleOf }: Tiling): AxisTile[] {
  const padded = Math.ceil(length / multipleOf) * multipleOf
  if (padded <= tile) return [{ window: { begin: 0, end: padded }, core: { begin: 0, end: length } }]
  const step = Math.floor((tile - 2 * overlap) / multipleOf) * multipleOf
  const count = Math.ceil((padded - tile) / step) + 1
  const windows = Array.from({ length: count }, (_, at) => {
    const begin = Math.min(at * step, padded - tile)
    return { begin, end: begin + tile }
  })
  // Neighbours share at least 2 * overlap pixels: the middle of them is far enough from both.
  const cuts = windows.slice(1).map(({ begin }, at) => Math.floor((begin + windows[at]!.end) / 2))
  return windows.map((window, at) => {
    return { window, core: { begin: cuts[at - 1] ?? 0, end: Math.min(cuts[at] ?? length, length) } }
  }).filter(({ core }) => core.begin < core.end)
}

/** The middle of a picture, as large as a tile may be; of a smaller picture all of it. */
export function middleTile (width: number, height: number, tiling: Tiling): Tile {
  const axis = (length: number): AxisTile => {
    const { tile, multipleOf } = tiling
    if (length <= tile) return axisTiles(length, tiling)[0]!
    const begin = Math.floor((length - tile) / 2 / multipleOf) * multipleOf
    const window = { begin, end: begin + tile }
    return { window, core: window }
  }
  return { x: axis(width), y: axis(height) }
}

/** Row by row, from the top left. */
export function * tilesOf (width: number, height: number, tiling: Tiling): Generator<Tile, void> {
  const columns = axisTiles(width, tiling)
  for (const y of axisTiles(height, tiling)) {
    for (const x of columns) yield { x, y }
  }
}

export function tileCount (width: number, height: number, tiling: Tiling): number {
  return axisTiles(width, tiling).length * axisTiles(height, tiling).length
}
