import type { App } from '#src/http/app-type.js'

/** `GET /livez` and so on, from Fastify's drawing of its routes, where a path continues that of the line it hangs on. */
export function registeredRoutes (app: App): string[] {
  const parents: string[] = []
  return app.printRoutes({ commonPrefix: false }).split('\n').flatMap((line) => {
    const [, indent, segment, methods] = /^([│ ]*)[├└]── (\S+)(?: \(([A-Z, ]+)\))?$/.exec(line) ?? []
    if (segment === undefined) return []
    const depth = indent!.length / 4
    const parent = depth === 0 ? '' : parents[depth - 1]!
    parents[depth] = parent + segment
    return (methods ?? '').split(', ').filter((method) => method !== '' && method !== 'HEAD').map((method) => `${method} ${parents[depth]}`)
  })
}
