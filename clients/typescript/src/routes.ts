/** The routes of the API as types, and their paths as text. */
import type { Routes } from './generated/api.js'

export type Route = keyof Routes

export type AnswerOf<R extends Route> = Routes[R]['answer']

/** What a route is given: path, query, headers and body, as far as it has them. */
export type Given<R extends Route> = Omit<Routes[R], 'answer'>

export type Parameter = string | number | boolean | undefined

export interface Parameters {
  path?: Readonly<Record<string, Parameter>> | undefined
  query?: Readonly<Record<string, Parameter>> | undefined
}

/**
 * `GET`, `/v1/models/traffic-signs?…` of a route. Throws a TypeError for a part of the path that is missing, empty or
 * dots, which would name another path.
 */
export function targetOf (route: Route, { path = {}, query = {} }: Parameters): { method: string, target: string } {
  const [method = '', template = ''] = route.split(' ')
  const filled = template.replace(/\{(\w+)\}/g, (_, name: string) => {
    const part = String(path[name] ?? '')
    if (/^\.{0,2}$/.test(part)) throw new TypeError(`"${part}" is no ${name}: expected a name`)
    return encodeURIComponent(part)
  })
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value))
  return { method, target: search.size === 0 ? filled : `${filled}?${search}` }
}
