/** Data that is loaded again and again, as long as somebody can see it. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { useSession } from './session.js'
import type { Client } from '../../../clients/typescript/src/index.js'

export interface Polled<Data> {
  /** The last that was loaded. */
  data: Data | undefined
  /** Of the last try. */
  error: unknown
  /** Loads it now. */
  refresh: () => void
}

/**
 * Loads at once, then `everyMs` after each answer; a hidden tab rests, and loads at once when it is seen again. `about`
 * names what is loaded: another one, or another key, begins anew. Without it nothing is loaded.
 */
export function usePolled<Data> (
  about: string | undefined, everyMs: number | ((data: Data | undefined) => number),
  load: (client: Client, signal: AbortSignal) => Promise<Data>
): Polled<Data> {
  const { client } = useSession()
  const [state, setState] = useState<{ about?: string | undefined, data?: Data, error?: unknown }>({})
  const wish = useRef({ load, everyMs })
  wish.current = { load, everyMs }
  const again = useRef(() => {})
  useEffect(() => {
    if (about === undefined) return
    const end = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    let isUnderWay = false
    const turn = async () => {
      clearTimeout(timer)
      if (document.hidden || isUnderWay) return
      isUnderWay = true
      let data: Data | undefined
      try {
        data = await wish.current.load(client, end.signal)
        if (!end.signal.aborted) setState({ about, data: data as Data })
      } catch (error) {
        if (!end.signal.aborted) setState((before) => before.about === about ? { ...before, error } : { about, error })
      }
      isUnderWay = false
      const { everyMs } = wish.current
      const waitMs = typeof everyMs === 'number' ? everyMs : everyMs(data)
      if (!end.signal.aborted) timer = setTimeout(() => { void turn() }, waitMs)
    }
    again.current = () => { void turn() }
    document.addEventListener('visibilitychange', again.current)
    void turn()
    return () => {
      end.abort()
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', again.current)
    }
  }, [client, about])
  const isCurrent = state.about === about
  return {
    data: isCurrent ? state.data : undefined,
    error: isCurrent ? state.error : undefined,
    refresh: () => again.current()
  }
}
