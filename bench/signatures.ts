/**
 * No measurement but a recipe: gives the shipped domains of traffic-signs and sr-x2 the signatures of their training
 * pictures, by which X-Domain: auto finds them, and writes them into domains/ in the place of what was there. The banks
 * stay as they are.
 *
 *   npm run bench -- signatures --data FOLDER
 *
 * FOLDER holds gtsrb32.npz and sr/, as training/README.md tells.
 */
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { markdownTable } from '#src/cli/measure.js'
import { completeOptions } from '#src/calibration/options.js'
import { loadSettings } from '#src/config/load.js'
import { createEngine } from '#src/engine.js'
import { createLogger } from '#src/observability/logger.js'
import { createMetrics } from '#src/observability/metrics.js'
import { openFileStore } from '#src/store/file/file-store.js'
import { shippedDomains } from '#src/store/file/shipped-folder.js'
import { openStore } from '#src/store/open-store.js'
import { DEGRADATIONS, loadPairs, loadSigns, SIGN_DOMAINS, signUploads, turnedAndFlipped } from './domain-pictures.js'
import { openBench } from './report.js'
import type { Uploads } from '#src/serving/calibrating/calibrations.js'

const { values: { data, seed }, publish } = openBench('signatures', { data: '', seed: '1' })
if (data === '') throw new Error('--data FOLDER is needed')

const ROOT = new URL('../../', import.meta.url).pathname
const DOMAINS = join(ROOT, 'domains')
async function uploadsOf (model: string): Promise<Map<string, Uploads>> {
  if (model === 'traffic-signs') {
    const { train } = await loadSigns(join(data, 'gtsrb32.npz'), Number(seed))
    return new Map(SIGN_DOMAINS.map((domain) => [domain, signUploads(train[domain])]))
  }
  const uploads = new Map<string, Uploads>()
  for (const kind of DEGRADATIONS) {
    const pairs = await loadPairs(join(data, 'sr'), 'train', kind, Number(seed))
    // Sixty pictures are too few for the moments of 64 features.
    const isFew = kind === 'phone'
    const pictures = isFew ? (await Promise.all(pairs.map(({ low }) => turnedAndFlipped(low)))).flat() : pairs.map(({ low }) => low)
    uploads.set(kind, { kind: 'pictures', files: pictures.map((bytes, at) => ({ name: `${at}.png`, bytes })) })
  }
  return uploads
}

const rows: string[][] = []
const folder = await mkdtemp(join(tmpdir(), 'bankswitch-signatures-'))
try {
  const logger = createLogger('error', process.stderr)
  const settings = loadSettings({
    BANKSWITCH_MODELS_DIR: join(ROOT, 'models'),
    BANKSWITCH_DOMAINS_DIR: DOMAINS,
    BANKSWITCH_STORE: join(folder, 'store'),
    BANKSWITCH_JOBS_DIR: join(folder, 'jobs'),
    BANKSWITCH_CACHE_DIR: join(folder, 'cache')
  }, [])
  const { store, close } = await openStore(settings, logger)
  const engine = await createEngine({ settings, logger, metrics: createMetrics(), store })
  const { store: made } = await openFileStore(join(folder, 'made'))
  try {
    await engine.prepared
    for (const model of ['traffic-signs', 'sr-x2']) {
      const uploads = await uploadsOf(model)
      for (const shipped of await shippedDomains(DOMAINS)) {
        const pictures = uploads.get(shipped.domain)
        if (shipped.model !== model || pictures === undefined) continue
        const { pointer } = await shipped.read()
        const version = pointer.versions.find((one) => one.version === pointer.active)!
        const options = completeOptions({ mode: 'signature' })
        const { file, result } = await engine.calibrations.run(model, shipped.domain, pictures, options, {
          isRegistered: false, onProgress: () => {}
        })
        const { description } = pointer
        await made.publish(model, shipped.domain, {
          file,
          digest: version.digest,
          fingerprint: version.fingerprint,
          source: version.source,
          createdAt: version.createdAt,
          isActivated: true,
          ...(version.preprocessing === undefined ? {} : { preprocessing: version.preprocessing }),
          ...(description === undefined ? {} : { description })
        })
        await rm(shipped.path, { recursive: true })
        await cp(join(folder, 'made', model, shipped.domain), shipped.path, { recursive: true })
        rows.push([model, shipped.domain, String(result.images.used), file.length.toLocaleString('en')])
        console.error(rows.at(-1)!.join('  '))
      }
    }
  } finally {
    await engine.close()
    await close()
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
await publish(markdownTable(['model', 'domain', 'pictures', 'bytes of the version with it'], rows))
