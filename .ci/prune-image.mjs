// Removes from the folders that are named what a container never reads: native code of other platforms, what only
// editors and debuggers want, and documents that are no licences.
import { existsSync, lstatSync, readdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'

const { platform, arch } = process

/** Whether an entry of a folder goes, with all that is in it. */
function isSuperfluous (path, folder) {
  const name = basename(path)
  // ONNX Runtime has bin/napi-v6/PLATFORM/ARCH, other packages have prebuilds/PLATFORM-ARCH.
  const [, place] = /\/onnxruntime-node\/bin\/[^/]+\/(.+)$/.exec(path) ?? []
  if (place !== undefined) return !`${platform}/${arch}/`.startsWith(`${place}/`) && !place.startsWith(`${platform}/${arch}/`)
  if (/\/prebuilds$/.test(folder)) return name !== `${platform}-${arch}`
  if (lstatSync(path).isDirectory()) return false
  // A workspace, whose folder is not there.
  if (!existsSync(path)) return true
  if (/^(licen[cs]e|notice|third.?party)/i.test(name)) return false
  // .bare is native code for another runtime than Node.
  return /(\.map|\.d\.[cm]?ts|\.tsbuildinfo|\.md|\.markdown|\.bare)$/i.test(name)
}

function prune (folder) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    if (isSuperfluous(path, folder)) rmSync(path, { recursive: true })
    else if (lstatSync(path).isDirectory()) prune(path)
  }
}

for (const folder of process.argv.slice(2)) prune(folder)
