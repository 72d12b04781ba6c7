/**
 * What happens to a request, in order: its body arrives, becomes tensors, waits, runs, and is written out again;
 * `total` is all of it, from the end of the headers to the last byte of the answer.
 */
export const STAGES = ['read', 'decode', 'queue', 'infer', 'encode', 'total'] as const

export type Stage = typeof STAGES[number]
