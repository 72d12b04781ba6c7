/**
 * Who uses the page: the key (in this tab's session only, sent in a header and never in a URL), what it may, and
 * whether the server answers. Parts of the page that show it are told when it changes.
 */
import { useEffect, useState } from 'preact/hooks'
import { BankswitchError, Client, type Caller } from '../../../clients/typescript/src/index.js'

export interface Session {
  /** Another one for another key: what was loaded with it is loaded anew. */
  client: Client
  /** Undefined until the server has told. */
  caller: Caller | undefined
  /** Why nothing can be shown, or shown anew. */
  trouble: 'gone' | 'key' | undefined
}

const KEY_NAME = 'bankswitch.key'

const RETRY_MS = 1_500

const listeners = new Set<() => void>()

let session: Session = { client: clientWith(storedKey()), caller: undefined, trouble: undefined }

function storedKey (): string | undefined {
  return sessionStorage.getItem(KEY_NAME) ?? undefined
}

/** `/ui/` is below where the API is, whatever a proxy has put before it. */
function clientWith (key: string | undefined): Client {
  return new Client('..', { key, retries: 0, fetch: watchedFetch })
}

/** Notes on the way whether there is a server. */
async function watchedFetch (url: string, init: RequestInit): Promise<Response> {
  try {
    const response = await fetch(url, init)
    if (session.trouble === 'gone') become({ trouble: undefined })
    return response
  } catch (error) {
    if (init.signal?.aborted !== true) become({ trouble: 'gone' })
    throw error
  }
}

function become (change: Partial<Session>): void {
  session = { ...session, ...change }
  for (const listener of listeners) listener()
}

/** Asks who one is, until there is an answer. */
export async function greet (): Promise<void> {
  const { client } = session
  try {
    const caller = await client.request('GET /v1/caller', {})
    if (session.client === client) become({ caller, trouble: undefined })
  } catch (error) {
    if (session.client !== client) return
    if (error instanceof BankswitchError && error.status === 401) {
      sessionStorage.removeItem(KEY_NAME)
      become({ client: clientWith(undefined), trouble: 'key' })
      await askAsNobody()
    } else setTimeout(() => { void greet() }, RETRY_MS)
  }
}

async function askAsNobody (): Promise<void> {
  const caller = await session.client.request('GET /v1/caller', {}).catch(() => undefined)
  become({ caller })
}

/** Takes the key when the server knows it. Rejects with the server's error, and leaves things as they were. */
export async function takeKey (key: string): Promise<void> {
  const client = clientWith(key)
  const caller = await client.request('GET /v1/caller', {})
  sessionStorage.setItem(KEY_NAME, key)
  become({ client, caller, trouble: undefined })
}

export async function dropKey (): Promise<void> {
  sessionStorage.removeItem(KEY_NAME)
  become({ client: clientWith(undefined), caller: undefined, trouble: undefined })
  await greet()
}

export function useSession (): Session {
  const [seen, see] = useState(session)
  useEffect(() => {
    const listener = () => see(session)
    listeners.add(listener)
    listener()
    return () => { listeners.delete(listener) }
  }, [])
  return seen
}

/** What went wrong, in the server's own words. */
export function textOf (error: unknown): string {
  if (error instanceof BankswitchError && error.code === 'CONNECTION_FAILED') return 'The server does not answer.'
  return error instanceof Error ? error.message : String(error)
}
