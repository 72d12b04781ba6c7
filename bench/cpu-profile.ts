/** Reads a profile of V8's sampling profiler. */

interface CpuProfile {
  nodes: Array<{ id: number, callFrame: { functionName: string, url: string } }>
  /** Node ids. */
  samples: number[]
  /** Microseconds before each sample. */
  timeDeltas: number[]
}

const ENGINE_ITSELF = 'native '

/** Own time by place, most first: a package, a room of ours, a module of Node, or what the engine itself does. */
export function profileByPlace (text: string): { places: Array<{ place: string, ms: number }>, busyMs: number } {
  const { nodes, samples, timeDeltas } = JSON.parse(text) as CpuProfile
  const placeOf = new Map(nodes.map(({ id, callFrame }) => [id, placeOfFrame(callFrame.functionName, callFrame.url)]))
  const times = new Map<string, number>()
  for (const [at, id] of samples.entries()) {
    const place = placeOf.get(id)!
    times.set(place, (times.get(place) ?? 0) + timeDeltas[at]! / 1000)
  }
  times.delete(`${ENGINE_ITSELF}(idle)`)
  const places = [...times].map(([place, ms]) => ({ place, ms })).sort((a, b) => b.ms - a.ms)
  return { places, busyMs: places.reduce((sum, { ms }) => sum + ms, 0) }
}

function placeOfFrame (functionName: string, url: string): string {
  const [, packaged] = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url) ?? []
  if (packaged !== undefined) return packaged
  const [, room] = /\/dist\/([^/]+)/.exec(url) ?? []
  if (room !== undefined) return room.endsWith('.js') ? room.replace(/js$/, 'ts') : `${room}/`
  if (url.startsWith('node:')) return url.replace(/^node:internal\/(\w+).*/, 'node:$1').replace(/^node:_?(\w+).*/, 'node:$1')
  return url === '' && functionName !== '' ? `${ENGINE_ITSELF}${functionName}` : 'other'
}
