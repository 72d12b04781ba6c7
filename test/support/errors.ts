import { BankswitchError } from '#src/base/errors.js'

/** For assert.rejects and assert.throws: an error of ours with this code, and details that hold what is given. */
export function hasCode (code: string, details: Record<string, unknown> = {}): (error: unknown) => boolean {
  return (error) => {
    if (!(error instanceof BankswitchError)) throw error
    if (error.code !== code) throw new Error(`expected ${code}, got ${error.code}: ${error.message}`)
    for (const [key, value] of Object.entries(details)) {
      if (JSON.stringify(error.details[key]) === JSON.stringify(value)) continue
      throw new Error(`${code}: expected ${key} ${JSON.stringify(value)}, got ${JSON.stringify(error.details)}`)
    }
    return true
  }
}
