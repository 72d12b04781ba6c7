/** What banks answer for a picture. */
import { useEffect, useState } from 'preact/hooks'
import { useSession } from '../service/session.js'
import type { Client } from '../../../clients/typescript/src/index.js'

export interface Chosen {
  picture: Blob
  name: string
  /** What it shows, where that is known. */
  subject?: string | undefined
}

export interface BankAnswer<Answer> {
  bank: string
  /** Undefined while it is on its way. */
  answer?: Answer
  error?: unknown
  /** There and back. */
  ms?: number
}

/** Of each bank, in their order; what was answered for the same picture is not asked again. */
export function useAnswers<Answer> (
  picture: Blob, banks: readonly string[], ask: (client: Client, bank: string, signal: AbortSignal) => Promise<Answer>
): Array<BankAnswer<Answer>> {
  const { client } = useSession()
  const [known, setKnown] = useState<{ picture?: Blob, answers: Map<string, BankAnswer<Answer>> }>({
    answers: new Map()
  })
  useEffect(() => {
    const end = new AbortController()
    const note = (answer: BankAnswer<Answer>) => {
      if (end.signal.aborted) return
      setKnown((before) => ({
        picture, answers: new Map(before.picture === picture ? before.answers : []).set(answer.bank, answer)
      }))
    }
    for (const bank of banks) {
      if (known.picture === picture && known.answers.has(bank)) continue
      const begin = performance.now()
      ask(client, bank, end.signal).then(
        (answer) => note({ bank, answer, ms: performance.now() - begin }), (error: unknown) => note({ bank, error })
      )
    }
    return () => end.abort()
  }, [client, picture, banks.join()])
  return banks.map((bank) => (known.picture === picture ? known.answers.get(bank) : undefined) ?? { bank })
}
