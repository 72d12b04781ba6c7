/**
 * A pass: one step of the compiler, in a file of its own, and what it promises. The table of all is passes.ts.
 *
 * Promises are looked at before and after every pass of every compilation: a pass that breaks one ends the compilation
 * under its name, before the passes behind it work on what they do not expect.
 */
import { compilerErrors } from './errors.js'

/** A fact about what is compiled, cheap enough to be looked at again and again: no weight is read for it. */
export interface Invariant<Work> {
  readonly name: string
  holds (work: Work): boolean
}

export interface Pass<Work, Result = unknown> {
  /** One word, for progress and documents. */
  readonly name: string
  /** Where it stands, in compiler/. */
  readonly file: string
  /** What it does, for documents. */
  readonly does: string
  readonly requires: ReadonlyArray<Invariant<Work>>
  readonly ensures: ReadonlyArray<Invariant<Work>>
  run (work: Work): Result | Promise<Result>
}

/** Told the name of each pass before it runs, and in which round of the compilation. */
export type Progress = (pass: string, round: number) => void

/** What a pass gives back when its round is over because it learned something: nothing is promised then. */
export const AGAIN = 'again'

/** Throws what the pass throws, and COMPILE_PASS_BROKEN when what it requires or promises is not so. */
export async function runPass<Work, Result> (pass: Pass<Work, Result>, work: Work): Promise<Result> {
  check(pass, 'requires', work)
  const result = await pass.run(work)
  if (result !== AGAIN) check(pass, 'ensures', work)
  return result
}

/** Runs passes in order until one gives back AGAIN; tells whether none did. */
export async function runPasses<Work> (
  passes: ReadonlyArray<Pass<Work>>, work: Work, onPass: (name: string) => void
): Promise<boolean> {
  for (const pass of passes) {
    onPass(pass.name)
    if (await runPass(pass, work) === AGAIN) return false
  }
  return true
}

function check<Work> (pass: Pass<Work>, side: 'requires' | 'ensures', work: Work): void {
  const broken = pass[side].find((invariant) => !invariant.holds(work))
  if (broken === undefined) return
  throw compilerErrors.COMPILE_PASS_BROKEN(
    `the compiler's pass "${pass.name}" ${side} what is not so: ${broken.name}`,
    { pass: pass.name, [side]: broken.name }
  )
}
