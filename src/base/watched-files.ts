/**
 * Files whose replacement is to be noticed. They are looked at again and again instead of being subscribed to: file
 * system events do not reach over network mounts, and miss files that are replaced behind a symbolic link, as mounted
 * secrets are.
 */
import { stat } from 'node:fs/promises'

const POLL_MS = 1000

export class WatchedFiles {
  readonly #paths: readonly string[]
  readonly #onChange: () => Promise<boolean>
  #seen: string
  #checking: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  private constructor (paths: readonly string[], onChange: () => Promise<boolean>, seen: string) {
    this.#paths = paths
    this.#seen = seen
    this.#onChange = onChange
  }

  /**
   * Takes the files as they are now. What changes from here on is told to `onChange`, which answers whether it could
   * deal with the change; else it is told again at the next look. Read the files after this has resolved, so that no
   * change falls between.
   */
  static async open (paths: readonly string[], onChange: () => Promise<boolean>): Promise<WatchedFiles> {
    return new WatchedFiles(paths, onChange, await identityOf(paths))
  }

  /** Looks every `pollMs` ms until `close`; does not keep the process alive. */
  start (pollMs = POLL_MS): void {
    this.#timer ??= setInterval(() => this.check().catch(() => {}), pollMs).unref()
  }

  /** Looks now; resolves when a change, if there is one, has been dealt with. Two calls at once share one look. */
  check (): Promise<void> {
    this.#checking ??= this.#look().finally(() => { this.#checking = undefined })
    return this.#checking
  }

  async #look (): Promise<void> {
    const found = await identityOf(this.#paths)
    if (found === this.#seen) return
    if (await this.#onChange()) this.#seen = found
  }

  close (): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

/** Equal as long as no file is replaced, written or removed; a file that cannot be looked at is its errno code. */
async function identityOf (paths: readonly string[]): Promise<string> {
  const identities = paths.map(async (path) => {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
      return [dev, ino, size, mtimeNs, ctimeNs].join(':')
    } catch (error) {
      return String((error as NodeJS.ErrnoException).code)
    }
  })
  return (await Promise.all(identities)).join(' ')
}
