/** A version under watch, and what the log has of it. */
import type { Alarm, DomainWatch } from '../../drift/domain-watch.js'
import type { Logger } from '../../observability/logger.js'
import type { Signature } from '../../signature/signature.js'

export interface Watched {
  readonly model: string
  readonly domain: string
  readonly version: number
  readonly watch: DomainWatch
  readonly signature: Signature
  /** As the log has it. */
  isDrifting: boolean
}

/** After every picture: a line when a domain begins to drift, with the alarm that says so, and one when that ends. */
export function logDrift (
  logger: Pick<Logger, 'info' | 'warn'>, watched: Watched, alarm: Alarm | undefined, at: number
): void {
  const { model, domain, version, watch } = watched
  if (watched.isDrifting && !watch.isDrifting(at)) {
    watched.isDrifting = false
    logger.info({ model, domain, version }, 'pictures no longer drift from the domain')
  } else if (!watched.isDrifting && alarm !== undefined) {
    watched.isDrifting = true
    const { stream, since, eValue } = alarm
    const told = { since: new Date(since).toISOString(), eValue, ...(stream === undefined ? {} : { stream }) }
    logger.warn({ model, domain, version, ...told }, 'pictures drift from the domain')
  }
}
