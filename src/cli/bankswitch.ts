/** All commands of `bankswitch`: argument vector in, exit code out. */
import { BankswitchError } from '../base/errors.js'
import { EXIT_USAGE, exitCodeOf } from './exit-code.js'
import { packageVersion } from './package-version.js'

interface Command {
  help: string
  run (argv: string[]): Promise<number>
}

/** Each command brings in only what it needs: a look at a file should not wait for a web server. */
const COMMANDS: Readonly<Record<string, { summary: string, load (): Promise<Command> }>> = {
  serve: {
    summary: 'serve the models of a folder (the default)',
    load: async () => (await import('./serve.js')).command
  },
  health: {
    summary: 'tell by the exit code whether the server is ready',
    load: async () => (await import('./health.js')).command
  },
  register: {
    summary: 'register a bank without a running server',
    load: async () => (await import('./register.js')).command
  },
  keys: {
    summary: 'add, list and revoke the keys of a server',
    load: async () => (await import('./keys.js')).command
  },
  store: {
    summary: 'export or import all domains as one file',
    load: async () => (await import('./store.js')).command
  },
  calibrate: {
    summary: 'make a bank for a domain from unlabelled images',
    load: async () => (await import('./calibrate.js')).command
  },
  signature: {
    summary: 'tell a server what a domain looks like, so that auto finds it',
    load: async () => (await import('./signature.js')).command
  },
  diff: {
    summary: 'show how far two banks lie apart',
    load: async () => (await import('./diff.js')).command
  },
  inspect: {
    summary: 'show the batch norms of a model and what a domain would cost',
    load: async () => (await import('./inspect.js')).command
  },
  compile: {
    summary: 'compile a model into the cache',
    load: async () => (await import('./compile.js')).command
  },
  bench: {
    summary: 'measure what switching costs for a model',
    load: async () => (await import('./bench.js')).command
  }
}

const HELP = `bankswitch <command> [options]

${Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(10)} ${summary}`).join('\n')}

  bankswitch <command> --help   tells more
  bankswitch --version
`

/** Characters of a list of names, for example. */
const DETAIL_MAX = 500

/** Runs the command that the arguments name. What it throws is told on standard error and becomes the exit code. */
export async function runBankswitch (argv: string[]): Promise<number> {
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
  try {
    const { help, run } = await command.load()
    return commandArgv.includes('--help') ? print(help) : await run(commandArgv)
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown))
    process.stderr.write(`bankswitch: ${error instanceof BankswitchError ? described(error) : error.stack}\n`)
    return exitCodeOf(error)
  }
}

/** Its sentence, and what was expected and received where that does not say so. */
function described ({ message, details }: BankswitchError): string {
  const told = (['expected', 'received'] as const).flatMap((name) => {
    const parts = [details[name] ?? []].flat().map((part) => typeof part === 'string' ? part : JSON.stringify(part))
    return parts.every((part) => message.includes(part)) ? [] : [`${name} ${parts.join(', ').slice(0, DETAIL_MAX)}`]
  })
  return [message, ...told].join('; ')
}

function print (text: string): number {
  process.stdout.write(text)
  return 0
}
