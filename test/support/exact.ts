/** Tables of graphs that must come out exact, however they are lowered. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Artefact } from '#src/compiler/artefact.js'
import type { CompileOptions } from '#src/compiler/compile-options.js'
import type { SiteKind } from '#src/compiler/plan.js'
import { compileExactly, type Comparison } from './compile.js'
import { GraphBuilder } from './graph-builder.js'

export interface ExactCase {
  title: string
  /** Builds the graph and its outputs. */
  build (g: GraphBuilder): void
  /** Budgets to compile with, and the kinds that must come out. */
  kinds?: Array<[foldBudget: number, kinds: SiteKind[]]>
  builder?: ConstructorParameters<typeof GraphBuilder>[0]
  options?: Partial<CompileOptions>
  comparison?: Comparison
  check? (artefact: Artefact): void
}

/** A test for each: compiled with no folds, with all folds and with the given budgets, and compared every time. */
export function exact (cases: readonly ExactCase[]): void {
  for (const { title, build, kinds = [], builder, options, comparison, check } of cases) {
    test(title, async (t) => {
      const g = new GraphBuilder(builder)
      build(g)
      const bytes = g.bytes()
      for (const [foldBudget, expected] of new Map<number, SiteKind[] | undefined>([
        [0, undefined], [Infinity, undefined], ...kinds
      ])) {
        const artefact = await compileExactly(t, bytes, { foldBudget, ...options }, comparison)
        if (expected !== undefined) {
          assert.deepEqual(artefact.sites.map(({ kind }) => kind), expected, `lowered at a budget of ${foldBudget}`)
        }
        check?.(artefact)
      }
    })
  }
}

/** An input of so many channels, 9 x 9 unless said otherwise. */
export function picture (g: GraphBuilder, channels: number, size = 9, name = 'x'): string {
  return g.input(name, ['n', channels, size, size])
}

/** Ends a graph in a picture. */
export function end (g: GraphBuilder, value: string, channels: number, size: number | string = 9): void {
  g.output(value, ['n', channels, size, size])
}
