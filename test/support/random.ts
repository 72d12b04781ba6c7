/** Seeded randomness. The seed of a run is printed once, and BANKSWITCH_TEST_SEED repeats it. */
import { seededNormal, seededUniform } from '#src/compiler/sample-inputs.js'

export { seededNormal, seededUniform }

/** Seed of property tests and fuzzers in this run. */
export const runSeed = Number(process.env.TEST_SEED ?? Math.floor(Math.random() * 2 ** 31))
console.log(`# TEST_SEED=${runSeed}`)
