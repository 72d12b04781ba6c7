/** `bankswitch health`: what a container's health check runs; a supervisor that speaks HTTP asks /readyz itself. */
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { configErrors, loadSettings } from '../config/load.js'
import type { Settings } from '../config/schema.js'

const HEALTH_HELP = `bankswitch health [--host H] [--port P] [--tls-certificate-file F] …

Asks the server on this machine that runs with the same settings whether it is ready: exit code 0 if it is, 1 if it is not
or does not answer, with the reason on standard error. Flags and environment are those of \`bankswitch serve\`.
`

/** Below the time that container engines are told to leave to it. */
const ANSWER_WITHIN_MS = 2_500

const REASON_LENGTH_MAX = 500

/** What listens on every address is asked on the loopback one. */
const LOOPBACK_OF: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }

type Asked = Pick<Settings, 'host' | 'port' | 'tlsCertificateFile'>

/** Throws CONFIG_INVALID. */
async function health (flags: string[]): Promise<number> {
  const settings = loadSettings(process.env, flags)
  if (settings.port === 0) {
    const details = { expected: 'a port', received: 0 }
    throw configErrors.CONFIG_INVALID('which free port the server took is not known here', details)
  }
  const signal = AbortSignal.timeout(ANSWER_WITHIN_MS)
  const reason = await whyNotReady(settings, signal).catch((error: unknown) => {
    return signal.aborted ? `no answer within ${ANSWER_WITHIN_MS} ms` : (error as Error).message
  })
  if (reason === undefined) return 0
  process.stderr.write(`not ready: ${reason}\n`)
  return 1
}

/** Undefined when it is ready. Rejects when there is no answer, or none before `signal` ends the wait. */
function whyNotReady (
  { host, port, tlsCertificateFile }: Asked, signal: AbortSignal
): Promise<string | undefined> {
  const request = tlsCertificateFile === undefined ? requestHttp : requestHttps
  return new Promise((resolve, reject) => {
    request({
      host: LOOPBACK_OF[host] ?? host,
      port,
      path: '/readyz',
      agent: false,
      signal,
      // It is for the name that clients use, not for this address, and nothing secret is sent.
      rejectUnauthorized: false
    }, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (part: string) => { text = (text + part).slice(0, REASON_LENGTH_MAX) })
      answer.on('end', () => resolve(answer.statusCode === 200 ? undefined : `${answer.statusCode} ${text}`))
      answer.on('error', reject)
    }).on('error', reject).end()
  })
}

export const command = { help: HEALTH_HELP, run: health }
