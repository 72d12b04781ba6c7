/** Seeded randomness for builders. */
export { seededNormal, seededUniform } from '#src/compiler/sample-inputs.js'
