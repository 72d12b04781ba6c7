/** What every command does with its arguments; what does not fit is CONFIG_INVALID and shows the command's help. */
import { readFile } from 'node:fs/promises'
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { configErrors } from '../config/load.js'

export type CommandOptions = NonNullable<ParseArgsConfig['options']>
type Parsed<Given extends CommandOptions> = ReturnType<typeof parseArgs<{ allowPositionals: true, options: Given }>>

export interface CommandLine<Given extends CommandOptions> extends Pick<Parsed<Given>, 'values' | 'positionals'> {
  /** The error for arguments that are wrong in a way that only the command knows. */
  wrong (why: string): Error
}

/** Throws CONFIG_INVALID for an unknown option, or one without its value. */
export function parseCommandLine<const Given extends CommandOptions> (
  argv: string[], help: string, options: Given
): CommandLine<Given> {
  const wrong = (why: string) => configErrors.CONFIG_INVALID(`${why}\n\n${help}`)
  try {
    const { values, positionals } = parseArgs({ args: argv, allowPositionals: true, options })
    return { values, positionals, wrong } as CommandLine<Given>
  } catch (cause) {
    throw wrong((cause as Error).message)
  }
}

/** Throws CONFIG_INVALID for a file that cannot be read. */
export async function readNamedFile (path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

export function unreadable (path: string, cause: unknown): Error {
  return configErrors.CONFIG_INVALID(`"${path}" cannot be read: ${(cause as Error).message}`, { received: path }, cause)
}
