/**
 * The page for browsers at /ui: a few files that the build made of `web/`, held in memory and sent compressed. They
 * hold nothing of the service, so they are open to everybody; what they show comes by the API, to whom it may.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import Negotiator from 'negotiator'
import type { App } from '../app-type.js'
import type { FastifyReply, FastifyRequest } from 'fastify'

const BUILT = new URL('../../web/', import.meta.url)

const FILES = [
  ['', 'index.html', 'text/html; charset=utf-8'],
  ['app.js', 'app.js', 'text/javascript; charset=utf-8'],
  ['app.css', 'app.css', 'text/css; charset=utf-8'],
  ['icon.svg', 'icon.svg', 'image/svg+xml']
] as const

/** Of the page alone: it runs no script and no style but its own files, and asks nobody but this server. */
const POLICY = [
  "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:", "connect-src 'self'",
  "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"
].join('; ')

const COMPRESS = {
  br: (bytes: Buffer) => promisify(brotliCompress)(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY }
  }),
  gzip: (bytes: Buffer) => promisify(gzip)(bytes, { level: constants.Z_BEST_COMPRESSION }),
  identity: async (bytes: Buffer) => bytes
}

type Encoding = keyof typeof COMPRESS

/** Throws the errno error when the files were not built. */
export async function registerWebPage (app: App): Promise<void> {
  const common = { config: { access: 'documents' }, schema: { hide: true }, logLevel: 'silent' } as const
  app.get('/ui', common, async (_request, reply) => await reply.redirect('ui/', 308))
  for (const [path, file, type] of FILES) {
    const answer = await fileAnswer(new URL(file, BUILT), type)
    app.get(`/ui/${path}`, common, answer)
  }
}

async function fileAnswer (file: URL, type: string) {
  const bytes = await readFile(file)
  const tag = createHash('sha256').update(bytes).digest('base64url').slice(0, 20)
  const encoded: Partial<Record<Encoding, Promise<Buffer>>> = {}
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const encoding = encodingOf(request)
    const etag = `"${tag}-${encoding}"`
    reply.headers({ 'content-security-policy': POLICY, 'cache-control': 'no-cache', vary: 'accept-encoding', etag })
    if (request.headers['if-none-match'] === etag) return await reply.code(304).send()
    const body = await (encoded[encoding] ??= COMPRESS[encoding](bytes))
    if (encoding !== 'identity') reply.header('content-encoding', encoding)
    return await reply.header('content-type', type).send(body)
  }
}

/** The smallest that is accepted. */
function encodingOf ({ headers: { 'accept-encoding': accepted = 'identity' } }: FastifyRequest): Encoding {
  const encodings = new Negotiator({ headers: { 'accept-encoding': String(accepted) } }).encodings()
  return (['br', 'gzip'] as const).find((encoding) => encodings.includes(encoding)) ?? 'identity'
}
