/** What the pages of the repository say that can be wrong: links, anchors, commands. */
import { readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { ROOT } from './folders.js'

/** Folders that are made, not written. */
const MADE = new Set(['node_modules', 'dist', 'build'])

/** Every page, from the repository's root. */
export function pages (folder = ROOT): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return MADE.has(entry.name) || entry.name.startsWith('.') ? [] : pages(path)
    return entry.name.endsWith('.md') ? [relative(ROOT, path)] : []
  })
}

/** The anchors that GitHub gives to a page's headings. */
export function anchorsOf (page: string): Set<string> {
  const anchors = new Set<string>()
  for (const [, heading] of withoutBlocks(page).matchAll(/^#{1,6} (.+)$/gm)) {
    const slug = heading!.toLowerCase().replace(/\]\([^)]*\)/g, '').replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-')
    let anchor = slug
    for (let copy = 1; anchors.has(anchor); copy++) anchor = `${slug}-${copy}`
    anchors.add(anchor)
  }
  return anchors
}

/** Targets of links and pictures that are not on another host. */
export function linksOf (page: string): string[] {
  return [...withoutBlocks(page).replace(/`[^`\n]*`/g, '').matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!)
    .filter((target) => !/^\w+:/.test(target))
}

/** Everything that is typed into a shell: `sh` blocks, continued lines joined, and code within the text. */
export function commandsOf (page: string): string[] {
  const blocks = [...page.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap(([, block]) => block!.replaceAll('\\\n', ' ').split('\n'))
  const spans = [...withoutBlocks(page).matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!)
  return [...blocks, ...spans].flatMap((line) => line.split(/\s(?:&&|\||>|;|do)\s|;\s/)).map((command) => command.trim()).filter((command) => command !== '')
}

function withoutBlocks (page: string): string {
  return page.replace(/^```[\s\S]*?^```/gm, '')
}
