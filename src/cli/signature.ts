/** `bankswitch signature`: what a domain's pictures look like, for a version that does not know it yet. */
import { parseOptions } from '../calibration/options.js'
import { calibrateHere, progressBar } from './calibrate.js'
import { calibrateRemotely } from './calibrate-remotely.js'
import { parseCommandLine } from './command-line.js'
import { loadCommandSettings } from './settings.js'
import { readUploads } from './read-uploads.js'

const SIGNATURE_HELP = `bankswitch signature --model M --domain D [options] PICTURES...

Looks at pictures of a domain (files, folders, archives, or one safetensors file with the input as a tensor) and stores its
active version once more, with the same bank and a signature, by which X-Domain: auto finds the domain. No picture is
kept. At least 32 are needed; some hundreds, as different as the domain's own, are better.

  --url URL          do it on a running server, whose admin key the settings name
  --size WxH         look at the pictures in another size than the domain's own, beside it: for pictures of this domain
                     that come enlarged or made smaller
  --no-activate      store the version without serving it
  --json             print the whole result as JSON
`

/** Throws CONFIG_INVALID, what start-up throws and what a calibration throws. */
async function run (argv: string[]): Promise<number> {
  const { values, positionals, wrong } = parseCommandLine(argv, SIGNATURE_HELP, {
    model: { type: 'string' },
    domain: { type: 'string' },
    url: { type: 'string' },
    size: { type: 'string' },
    'no-activate': { type: 'boolean' },
    json: { type: 'boolean' }
  })
  const { model, domain, url, size } = values
  if (model === undefined || domain === undefined || positionals.length === 0) {
    throw wrong('model, domain and pictures are needed')
  }
  const fields = {
    mode: 'signature',
    ...(size === undefined ? {} : { signatureSize: size }),
    ...(values['no-activate'] === true ? { activate: 'false' } : {})
  }
  const options = parseOptions(fields)
  const settings = loadCommandSettings()
  const uploads = await readUploads(positionals)
  const bar = progressBar()
  try {
    const result = url === undefined
      ? await calibrateHere(settings, { model, domain, options }, uploads, bar.show)
      : await calibrateRemotely({ url, settings, model, domain, fields, uploads, onProgress: bar.show })
    bar.clear()
    const { version, active, images } = result
    const shown = `${model}: version ${version} of domain ${domain} has a signature of ${images.used} images` +
      `${active ? '' : ', not active'}`
    process.stdout.write(values.json === true ? `${JSON.stringify(result, null, 2)}\n` : `${shown}\n`)
    return 0
  } finally {
    bar.clear()
  }
}

export const command = { help: SIGNATURE_HELP, run }
