/** `bankswitch store`: a whole store into one file, and back. */
import { createReadStream, createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { configErrors, loadSettings } from '../config/load.js'
import { exportStore } from '../store/file/export-store.js'
import { importStore } from '../store/file/import-store.js'
import { storeFolder } from '../store/open-store.js'
import { isDatabase, type Settings } from '../config/schema.js'
import { parseCommandLine, unreadable } from './command-line.js'
import { EXIT_INCOMPLETE } from './exit-code.js'
import type { ImportOptions, ImportReport } from '../store/archive/read-archive.js'
import type { ExportReport } from '../store/archive/write-archive.js'
import type { Readable, Writable } from 'node:stream'

const STORE_HELP = `bankswitch store export FILE
bankswitch store import FILE [--replace]

All domains with all their versions, marks and gates, of the store that BANKSWITCH_STORE names, as one tar archive.
FILE may be - for standard output or input.

The archive of a folder can be read into a database, and the other way round.

export may run beside a server; domains that a newer server wrote are left out and named, and the exit code is 69.
import may not, but for a database: stop the server first. It checks the whole archive before it changes
anything, and leaves domains alone that the archive does not hold.

  --replace   take the archive's domain where the store has another of the same name; otherwise that is an error

Both print what they did as JSON, export to - on standard error.
`

/** Throws CONFIG_INVALID and what the export and the import throw. */
async function store (argv: string[]): Promise<number> {
  const { values, positionals, wrong } = parseCommandLine(argv, STORE_HELP, {
    replace: { type: 'boolean', default: false }
  })
  const [verb, file, ...rest] = positionals
  if ((verb !== 'export' && verb !== 'import') || file === undefined || rest.length > 0) {
    throw wrong('export or import and one file are needed')
  }
  if (verb === 'export' && values.replace) throw wrong('--replace belongs to import')
  const place = await placeOf(loadSettings(process.env, []))
  return verb === 'import' ? await read(place, file, { isReplacing: values.replace }) : await write(place, file)
}

interface Place {
  export (target: Writable): Promise<ExportReport>
  import (source: Readable, options: ImportOptions): Promise<ImportReport>
}

async function placeOf (settings: Settings): Promise<Place> {
  const { store } = settings
  if (isDatabase(store)) {
    const { exportDatabase, importDatabase } = await import('../store/postgres/move.js')
    return {
      export: (target) => exportDatabase(store, target),
      import: (source, options) => importDatabase(store, source, options)
    }
  }
  const folder = storeFolder(settings)
  return {
    export: (target) => exportStore(folder, target), import: (source, options) => importStore(folder, source, options)
  }
}

async function write (place: Place, file: string): Promise<number> {
  if (file === '-') {
    const report = await place.export(process.stdout)
    process.stderr.write(`${JSON.stringify(report)}\n`)
    return codeOf(report)
  }
  // A failed export must not cost the one before it.
  const partial = `${file}.partial`
  try {
    const report = await place.export(createWriteStream(partial, { flush: true }))
    await rename(partial, file)
    process.stdout.write(`${JSON.stringify({ file, ...report })}\n`)
    return codeOf(report)
  } catch (error) {
    await rm(partial, { force: true })
    if (!(error instanceof Error && 'syscall' in error)) throw error
    throw configErrors.CONFIG_INVALID(`"${file}" cannot be written: ${error.message}`, { received: file }, error)
  }
}

/** The archive is whole but for what it says, and who only looks at the code is told too. */
function codeOf ({ leftOut = [] }: ExportReport): number {
  for (const { path, reason } of leftOut) process.stderr.write(`bankswitch: ${path} is left out: ${reason}\n`)
  return leftOut.length === 0 ? 0 : EXIT_INCOMPLETE
}

async function read (place: Place, file: string, options: ImportOptions): Promise<number> {
  const source = file === '-' ? process.stdin : createReadStream(file)
  let failure: unknown
  source.once('error', (error: Error) => { failure = error })
  try {
    process.stdout.write(`${JSON.stringify(await place.import(source, options))}\n`)
    return 0
  } catch (error) {
    throw failure === undefined ? error : unreadable(file, failure)
  }
}

export const command = { help: STORE_HELP, run: store }
