/**
 * Which compiler this is: a digest of all of our own code that its process loads. Artefacts are kept under it, so a
 * change of a pass never meets what another pass has made.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { sha256 } from '../base/digest.js'

const PROGRAM = new URL('./compile-child.js', import.meta.url)

let own: string | undefined

/** Of the compiler that runs here; read once, in a few milliseconds. */
export function compilerRevision (): string {
  own ??= programDigest(PROGRAM)
  return own
}

/**
 * Digest of a built program's file and of all that it reaches by relative names, wherever the whole lies. Every text
 * that reads like the name of a module counts, so that imports at run time and threads are followed too.
 * Throws the errno error of a module that cannot be read.
 */
export function programDigest (entry: URL): string {
  const digests = new Map<string, string>()
  const root = new URL('../', entry).href
  const waiting = [entry]
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    const name = file.href.replace(root, '')
    if (digests.has(name)) continue
    const text = readFileSync(fileURLToPath(file), 'utf8')
    digests.set(name, sha256(text))
    for (const [, path] of text.matchAll(/['"](\.{1,2}\/[^'"\n]+\.js)['"]/g)) waiting.push(new URL(path!, file))
  }
  return sha256(JSON.stringify([...digests].sort(([a], [b]) => a < b ? -1 : 1)))
}
