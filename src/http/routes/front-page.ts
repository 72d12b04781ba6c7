/** What stands at `/`: where everything else is, as a page for browsers and as JSON for programs. */
import { createHash } from 'node:crypto'
import { Type } from '#typebox'
import { isServed, type Audience, type RouteAccess } from '../access/route-access.js'
import { acceptedType } from '../answer.js'
import { errorsOf } from '../schemas.js'
import type { App } from '../app-type.js'
import type { FastifyReply } from 'fastify'

const LINKS: ReadonlyArray<{ name: string, href: string, title: string, access: RouteAccess }> = [
  { name: 'ui', href: '/ui/', title: 'The page to see and change it all', access: 'documents' },
  { name: 'docs', href: '/docs/', title: 'Documentation of the API, to try it out', access: 'documents' },
  { name: 'openapi', href: '/openapi.json', title: 'The same as an OpenAPI document', access: 'documents' },
  { name: 'models', href: '/v1/models', title: 'Models and their domains', access: 'listing' },
  { name: 'live', href: '/livez', title: 'Is the process alive', access: 'health' },
  { name: 'ready', href: '/readyz', title: 'Is every model ready', access: 'health' },
  { name: 'metrics', href: '/metrics', title: 'Metrics for Prometheus', access: 'metrics' }
]

const STYLE = ':root{color-scheme:light dark}' +
  'body{font:1.1rem/1.6 system-ui,sans-serif;max-width:36rem;margin:4rem auto;padding:0 1rem}' +
  'body{color:#1b1f24;background:#fff}' +
  'a{color:#0b57d0}' +
  '@media (prefers-color-scheme:dark){body{color:#e3e6ea;background:#16191d}a{color:#8ab4f8}}'

const POLICY = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; ` +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const FrontSchema = Type.Object({
  name: Type.String(), version: Type.String(), links: Type.Record(Type.String(), Type.String())
}, { title: 'Front' })

/** Links only to what `audience` is served; where there is a page at /ui, browsers are led there. */
export function registerFrontPage (app: App, version: string, audience: Audience, hasUi: boolean): void {
  const links = LINKS.filter(({ name, access }) => isServed(audience, access) && (hasUi || name !== 'ui'))
  const page = pageOf(links)
  app.get('/', {
    config: { access: 'documents' },
    schema: {
      tags: ['operations'],
      summary: 'Where everything is: a page for browsers, JSON for programs',
      produces: ['application/json', 'text/html'],
      response: { 200: FrontSchema, 302: Type.Null({ description: 'To the page, for browsers' }), ...errorsOf(406) }
    }
  }, async (request, reply) => {
    reply.header('vary', 'accept')
    if (acceptedType(request, ['application/json', 'text/html']) === 'application/json') {
      return { name: 'bankswitch', version, links: Object.fromEntries(links.map(({ name, href }) => [name, href])) }
    }
    if (hasUi) return await (reply as FastifyReply).redirect('ui/', 302)
    reply.header('content-security-policy', POLICY)
    return await (reply as FastifyReply).header('content-type', 'text/html; charset=utf-8').send(page)
  })
}

function pageOf (links: typeof LINKS): string {
  const items = links.map(({ href, title }) => `<li><a href="${href}">${title}</a></li>`)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>bankswitch</title>
<style>${STYLE}</style>
</head>
<body>
<h1>bankswitch</h1>
<p>One convolutional network, one bank of batch-norm statistics per input domain.</p>
<ul>
${items.join('\n')}
</ul>
</body>
</html>
`
}
