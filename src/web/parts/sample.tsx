/** Sample pictures of models: `DOMAIN-what-it-shows.png`, or `DOMAIN.png`. */
import { useEffect, useState } from 'preact/hooks'
import { useSession } from '../service/session.js'

export interface Sample {
  file: string
  /** Which domain it is a picture of, and what it shows, as far as its name tells. */
  domain: string | undefined
  subject: string
}

export function parseSample (file: string, domains: readonly string[]): Sample {
  const stem = file.replace(/\.\w+$/, '')
  const domain = domains.filter((name) => stem === name || stem.startsWith(`${name}-`)).sort((a, b) => b.length - a.length)[0]
  const subject = (domain === undefined ? stem : stem.slice(domain.length + 1)).replaceAll('-', ' ')
  return { file, domain, subject: subject === '' ? stem : subject }
}

/** Fetched with the key, which an <img> could not send. */
export async function fetchSample (
  client: ReturnType<typeof useSession>['client'], model: string, sample: string, signal?: AbortSignal
): Promise<Blob> {
  const bytes = await client.request('GET /v1/models/{model}/samples/{sample}', { path: { model, sample } }, { signal })
  return new Blob([bytes as Uint8Array<ArrayBuffer>])
}

export function useSamples (model: string | undefined, domains: readonly string[]): Sample[] {
  const { client, caller } = useSession()
  const [samples, setSamples] = useState<{ model?: string | undefined, files: string[] }>({ files: [] })
  useEffect(() => {
    if (model === undefined || caller?.may.list !== true) return
    client.request('GET /v1/models/{model}/samples', { path: { model } })
      .then(({ samples }) => setSamples({ model, files: samples }), () => setSamples({ model, files: [] }))
  }, [client, model])
  return samples.model === model ? samples.files.map((file) => parseSample(file, domains)) : []
}

/** A picture from bytes, as long as it is shown. */
export function useObjectUrl (blob: Blob | undefined): string | undefined {
  const [url, setUrl] = useState<string | undefined>(undefined)
  useEffect(() => {
    if (blob === undefined) return setUrl(undefined)
    const made = URL.createObjectURL(blob)
    setUrl(made)
    return () => URL.revokeObjectURL(made)
  }, [blob])
  return url
}

export function SamplePicture ({ model, file }: { model: string, file: string }) {
  const { client } = useSession()
  const [blob, setBlob] = useState<Blob | undefined>(undefined)
  useEffect(() => {
    const end = new AbortController()
    fetchSample(client, model, file, end.signal).then(setBlob, () => {})
    return () => end.abort()
  }, [client, model, file])
  const url = useObjectUrl(blob)
  return url === undefined ? <span class='thumb' /> : <img class='thumb' src={url} alt='' />
}
