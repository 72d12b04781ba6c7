/** What a client and each of its calls can be told. */

export interface ClientOptions {
  /** Sent as `Authorization: Bearer`. */
  key?: string | undefined
  /** How often a call is sent again, where that is safe; 2 if not given, 0 for never. */
  retries?: number | undefined
  /** The longest wait between two tries, in ms; a server that asks for more gets no other try. 30,000 if not given. */
  retryWaitMsMax?: number | undefined
  /** In place of the global one. */
  fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined
  /** In place of a timer: resolves after `ms`, or rejects with the reason of the signal. */
  wait?: ((ms: number, signal?: AbortSignal) => Promise<void>) | undefined
}

export interface CallOptions {
  /** Ends the call, its tries and waits: it rejects with the signal's reason. */
  signal?: AbortSignal | undefined
  /** The server's log and its answer repeat it: up to 128 plain characters. */
  requestId?: string | undefined
}

/** Which bank is to answer; the model's default domain if not given. */
export interface DomainWish {
  /** A name, a blend such as `day=0.7,lowlight=0.3`, or `auto` for the one that the picture looks like. */
  domain?: string | undefined
  /** With `auto` most of its last pictures decide for the domain, and all together whether they fit any; drift is
   * watched by stream. */
  stream?: string | undefined
  /** Of `domain`: a number or a label; the active version if not given. */
  version?: number | string | undefined
  /** How long the call may take, in ms, further tries included; the server answers 504 beyond. */
  timeoutMs?: number | undefined
}

/** Guards of a change against lost updates; the call rejects with PRECONDITION_FAILED. */
export interface PreconditionOptions {
  /** The `revision` that the domain must have. */
  ifRevision?: number | undefined
  /** The domain must not exist yet. */
  ifNew?: boolean | undefined
}

const PRINTABLE = /^[\x21-\x7e]+$/

/** The headers that name a domain and a stream. Throws a TypeError for what neither is called. */
export function domainHeader ({ domain, version, stream }: DomainWish): { 'x-domain'?: string, 'x-stream'?: string } {
  if (stream !== undefined && !PRINTABLE.test(stream)) throw new TypeError(`no stream is called "${stream}"`)
  return { ...nameHeader({ domain, version }), ...(stream === undefined ? {} : { 'x-stream': stream }) }
}

function nameHeader ({ domain, version }: DomainWish): { 'x-domain'?: string } {
  if (domain === undefined && version === undefined) return {}
  if (domain === undefined) throw new TypeError('a version is one of a domain: pass { domain, version }')
  if (version !== undefined && isBlend(domain)) {
    throw new TypeError('a blend has no version: each of its parts may have one, such as "day:1=0.5,fog=0.5"')
  }
  const text = version === undefined ? domain : `${domain}:${version}`
  if (PRINTABLE.test(text)) return { 'x-domain': text }
  throw new TypeError(`no domain is called "${text}": names are letters, digits, dots, dashes and underscores`)
}

/** Several domains in one text: between them stand commas, and so semicolons within a blend. Undefined for all. */
export function domainList (domains: readonly string[] = []): string | undefined {
  const texts = domains.map((text) => isBlend(text) ? text.replaceAll(',', ';') : text)
  return texts.length === 0 ? undefined : texts.join()
}

function isBlend (domain: string): boolean {
  return domain.includes('=')
}

export function preconditionHeaders (
  { ifRevision, ifNew }: PreconditionOptions
): { 'if-match'?: string, 'if-none-match'?: string } {
  return {
    ...(ifRevision === undefined ? {} : { 'if-match': `"${ifRevision}"` }),
    ...(ifNew === true ? { 'if-none-match': '*' } : {})
  }
}
