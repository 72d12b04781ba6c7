/** What answers tell of domains that `auto` has chosen: of a picture in headers, of rows in parameters. */
import type { Recognised } from './generated/api.js'

/** How the domain of a row was chosen, and which has answered it. */
export interface RecognisedRow extends Recognised {
  domain: string
}

interface Told {
  runnerUp?: string | null | undefined
  margin?: string | null | undefined
  p?: string | null | undefined
}

/** Of one picture; undefined where its domain was named. */
export function recognisedPicture (headers: Headers): Recognised | undefined {
  const [fit, nearest] = [headers.get('x-domain-fit'), headers.get('x-domain-nearest')]
  if (fit === null || nearest === null) return undefined
  const [runnerUp, margin] = [headers.get('x-domain-runner-up'), headers.get('x-domain-margin')]
  return { fit: fit as Recognised['fit'], nearest, ...known({ runnerUp, margin, p: headers.get('x-domain-p') }) }
}

/** Of each row, from parameters with one place for each; empty where all were named. */
export function recognisedRows (parameters: Readonly<Record<string, unknown>>): Array<RecognisedRow | undefined> {
  if (parameters.domain_fit === undefined) return []
  const list = (name: string) => String(parameters[name]).split(',')
  const [domains, nearest] = [list('domain_of_rows'), list('domain_nearest')]
  const [runnersUp, margins, ps] = [list('domain_runner_up'), list('domain_margin'), list('domain_p')]
  return list('domain_fit').map((fit, row) => fit === ''
    ? undefined
    : {
        domain: domains[row]!,
        fit: fit as Recognised['fit'],
        nearest: nearest[row]!,
        ...known({ runnerUp: runnersUp[row], margin: margins[row], p: ps[row] })
      })
}

function known ({ runnerUp, margin, p }: Told): Pick<Recognised, 'runnerUp' | 'margin' | 'p'> {
  return {
    ...runnerUp ? { runnerUp } : {},
    ...margin ? { margin: Number(margin) } : {},
    ...p ? { p: Number(p) } : {}
  }
}
