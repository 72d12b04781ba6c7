/** Seed of property tests and fuzzers in this run: printed once, repeated with TEST_SEED. */
export const runSeed = Number(process.env.TEST_SEED ?? Math.floor(Math.random() * 2 ** 31))
console.log(`# TEST_SEED=${runSeed}`)
