/**
 * HTTPS: certificate and key from files, replaced under running connections when the files change. Two files cannot
 * change at the same moment: a pair that does not fit yet is logged and leaves the old one in force.
 */
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { WatchedFiles } from '../base/watched-files.js'
import { configErrors } from '../config/load.js'
import { environmentName, type Settings } from '../config/schema.js'
import type { Logger } from '../observability/logger.js'

export type TlsSettings = Pick<Settings, 'tlsCertificateFile' | 'tlsKeyFile'>

/** PEM. */
export interface TlsFiles {
  cert: Buffer
  key: Buffer
}

export interface WatchedTls {
  /** As they were at the start. */
  readonly files: TlsFiles
  /** Tells every later pair, from the moment that it is called until `close`. */
  watch (onChange: (files: TlsFiles) => void): void
  /** Looks for a change now. */
  refresh (): Promise<void>
  close (): void
}

/** Undefined without TLS settings. Throws CONFIG_INVALID for one without the other, and for files that do not fit. */
export async function openTls (settings: TlsSettings, logger: Logger): Promise<WatchedTls | undefined> {
  const { tlsCertificateFile: certificate, tlsKeyFile: key } = settings
  if (certificate === undefined && key === undefined) return undefined
  if (certificate === undefined || key === undefined) {
    const names = [environmentName('tlsCertificateFile'), environmentName('tlsKeyFile')]
    throw configErrors.CONFIG_INVALID(`${names.join(' and ')} need each other`, { expected: 'both' })
  }
  const listeners: Array<(files: TlsFiles) => void> = []
  const watched = await WatchedFiles.open([certificate, key], async () => {
    try {
      const files = await readPair(certificate, key)
      for (const listener of listeners) listener(files)
      logger.info({ certificate }, 'the TLS certificate was replaced')
    } catch (error) {
      logger.error({ err: error, certificate }, 'the TLS certificate could not be replaced: the old one stays in force')
    }
    return true
  })
  return {
    files: await readPair(certificate, key),
    watch (listener) {
      listeners.push(listener)
      watched.start()
    },
    refresh: () => watched.check(),
    close: () => watched.close()
  }
}

async function readPair (certificate: string, key: string): Promise<TlsFiles> {
  try {
    const files = { cert: await readFile(certificate), key: await readFile(key) }
    createSecureContext(files)
    return files
  } catch (cause) {
    throw configErrors.CONFIG_INVALID(
      `the TLS certificate ${certificate} and key ${key} cannot be used: ${(cause as Error).message}`, {}, cause
    )
  }
}
