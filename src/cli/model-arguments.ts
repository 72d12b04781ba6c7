/** Arguments that all commands on a model file share. */
import { stat } from 'node:fs/promises'
import type { ParseArgsConfig } from 'node:util'
import { hasErrno } from '../base/errors.js'
import { ONLY_INPUT, type SampleShapes } from '../compiler/sample-inputs.js'
import { configErrors, loadSettings } from '../config/load.js'
import { flagName } from '../config/schema.js'
import { parseCommandLine } from './command-line.js'
import type { CompileOptions } from '../compiler/compile-options.js'
import type { ModelSource } from '../compiler/source/model-source.js'

export const MODEL_ARGUMENTS_HELP = `  --shape [INPUT=]1x3x224x224   sizes of one row of an input, where the model leaves them open; repeat per input
  --fold-budget SHARE           share of the weight bytes that a domain may cost: 0 to infinite
  --reference-state FILE        state_dict (safetensors) that the model was exported from: undoes folded batch norms
  --insert-bn                   put an identity batch norm behind every convolution
  --json                        print JSON
`

/** Of every command that compiles. */
export const COMPILE_OPTIONS = {
  shape: { type: 'string', multiple: true, default: [] },
  [flagName('foldBudget')]: { type: 'string' },
  json: { type: 'boolean', default: false }
} satisfies ParseArgsConfig['options']

const OPTIONS = {
  ...COMPILE_OPTIONS,
  [flagName('cacheDir')]: { type: 'string' },
  'reference-state': { type: 'string' },
  'insert-bn': { type: 'boolean', default: false }
} satisfies ParseArgsConfig['options']

/** Settings that have a flag here too. */
const SETTINGS = ['foldBudget', 'cacheDir']

export interface ModelArguments {
  source: ModelSource
  options: CompileOptions
  /** Folder of compiled models, from the settings. */
  cacheFolder: string
  isJson: boolean
  /** Values of the further options. */
  values: Record<string, string | boolean | undefined>
}

type FurtherOptions = Record<string, { type: 'string' | 'boolean', default?: string | boolean }>

/**
 * Reads `argv` of a command that takes one model, as a positional argument or as `--model`.
 * Throws CONFIG_INVALID with `help`, and for a file that is not there.
 */
export async function parseModelArguments (
  argv: string[], help: string, further: FurtherOptions = {}
): Promise<ModelArguments> {
  const { positionals, wrong, ...parsed } = parseCommandLine(argv, help, {
    ...OPTIONS, ...further, model: { type: 'string' }
  })
  const values = parsed.values as Record<string, string | boolean | string[] | undefined>
  const paths = [...positionals, ...(typeof values.model === 'string' ? [values.model] : [])]
  const [path] = paths
  if (path === undefined || paths.length > 1) throw wrong('one model file is needed')
  await requireFile(path)
  const statePath = values['reference-state'] as string | undefined
  if (statePath !== undefined && values['insert-bn'] === true) {
    throw wrong('--reference-state and --insert-bn exclude each other')
  }
  if (statePath !== undefined) await requireFile(statePath)
  const { options, cacheFolder } = compileArguments(values, wrong)
  return {
    source: statePath === undefined
      ? { path, origin: values['insert-bn'] === true ? 'inserted' : 'graph' }
      : { path, origin: 'reference-state', statePath },
    options,
    cacheFolder,
    isJson: values.json === true,
    values: values as ModelArguments['values']
  }
}

/** What the flags of COMPILE_OPTIONS say, and the settings where they say nothing. Throws CONFIG_INVALID. */
export function compileArguments (
  values: Readonly<Record<string, string | boolean | string[] | undefined>>, wrong: (why: string) => Error
): Pick<ModelArguments, 'options' | 'cacheFolder'> {
  const { foldBudget, cacheDir } = loadSettings(process.env, SETTINGS.flatMap((setting) => {
    const value = values[flagName(setting)]
    return value === undefined ? [] : [`--${flagName(setting)}`, String(value)]
  }))
  return { options: { foldBudget, samples: parseShapes(values.shape as string[], wrong) }, cacheFolder: cacheDir }
}

/** Throws CONFIG_INVALID when there is none. */
export async function requireFile (path: string): Promise<void> {
  try {
    if ((await stat(path)).isFile()) return
  } catch (cause) {
    if (!hasErrno(cause, 'ENOENT', 'ENOTDIR')) throw cause
  }
  throw configErrors.CONFIG_INVALID(`there is no file "${path}"`, { received: path })
}

const SIDE_MAX = 65_536

function parseShapes (texts: readonly string[], wrong: (why: string) => Error): SampleShapes[] {
  if (texts.length === 0) return []
  return [Object.fromEntries(texts.map((text) => {
    const at = text.lastIndexOf('=')
    const dims = text.slice(at + 1).split('x').map(Number)
    if (dims.some((size) => !Number.isInteger(size) || size < 1 || size > SIDE_MAX)) {
      throw wrong(`--shape "${text}" is no shape such as 1x3x224x224`)
    }
    return [at < 0 ? ONLY_INPUT : text.slice(0, at), dims]
  }))]
}
