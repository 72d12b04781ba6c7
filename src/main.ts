#!/usr/bin/env node
/** Argument vector in, exit code out. */
import { BankswitchError } from './base/errors.js'
import { EXIT_USAGE, exitCodeOf } from './cli/exit-code.js'
import { packageVersion } from './cli/package-version.js'
import { register, REGISTER_HELP } from './cli/register.js'
import { serve, SERVE_HELP } from './cli/serve.js'

interface Command {
  help: string
  summary: string
  run (argv: string[]): Promise<number>
}

const COMMANDS: Readonly<Record<string, Command>> = {
  serve: { help: SERVE_HELP, summary: 'serve the models of a folder (the default)', run: serve },
  register: { help: REGISTER_HELP, summary: 'register a bank without a running server', run: register }
}

const HELP = `bankswitch <command> [options]

${Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(10)} ${summary}`).join('\n')}

  bankswitch <command> --help   tells more
  bankswitch --version
`

process.exitCode = await main(process.argv.slice(2))
// Native threads and open handles must not keep a finished command alive.
process.exit()

async function main (argv: string[]): Promise<number> {
  const [first = 'serve', ...rest] = argv
  if (first === '--version') return print(`${packageVersion()}\n`)
  if (first === '--help' || first === 'help') return print(HELP)
  const isFlag = first.startsWith('-')
  const command = isFlag ? COMMANDS.serve : Object.hasOwn(COMMANDS, first) ? COMMANDS[first] : undefined
  if (command === undefined) {
    process.stderr.write(`bankswitch: there is no command "${first}"\n\n${HELP}`)
    return EXIT_USAGE
  }
  const commandArgv = isFlag ? argv : rest
  if (commandArgv.includes('--help')) return print(command.help)
  try {
    return await command.run(commandArgv)
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown))
    process.stderr.write(`bankswitch: ${error instanceof BankswitchError ? error.message : error.stack}\n`)
    return exitCodeOf(error)
  }
}

function print (text: string): number {
  process.stdout.write(text)
  return 0
}
