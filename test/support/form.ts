/** Multipart forms as bytes. */
import { randomUUID } from 'node:crypto'

export interface FormFile {
  field: string
  name: string
  bytes: Uint8Array
}

/** A form with text fields first, then files. */
export function formOf (
  fields: Readonly<Record<string, string>>, files: readonly FormFile[]
): { payload: Buffer, headers: { 'content-type': string } } {
  const boundary = randomUUID()
  const parts = Object.entries(fields).map(([name, value]) => {
    return Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`)
  })
  for (const { field, name, bytes } of files) {
    parts.push(Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="${field}"; filename="${name}"\r\nContent-Type: application/octet-stream\r\n\r\n`
    ), Buffer.from(bytes), Buffer.from('\r\n'))
  }
  parts.push(Buffer.from(`--${boundary}--\r\n`))
  return { payload: Buffer.concat(parts), headers: { 'content-type': `multipart/form-data; boundary=${boundary}` } }
}
