/** Self-signed certificates for `localhost`, written in DER by hand: Node can read them, but not make them. */
import { createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'

const SEQUENCE = 0x30
const SET = 0x31
const INTEGER = 0x02
const BIT_STRING = 0x03
const OCTET_STRING = 0x04
const UTF8_STRING = 0x0c
const UTC_TIME = 0x17

function der (tag: number, ...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts)
  const length = body.length < 128 ? [body.length] : [0x82, body.length >> 8, body.length & 255]
  return Buffer.concat([Buffer.from([tag, ...length]), body])
}

const ECDSA_WITH_SHA256 = der(SEQUENCE, Buffer.from('06082a8648ce3d040302', 'hex'))
const COMMON_NAME = Buffer.from('0603550403', 'hex')
const SUBJECT_ALTERNATIVE_NAME = Buffer.from('0603551d11', 'hex')

export interface TestCertificate {
  cert: string
  key: string
}

/** Good from 2000 to 2049; `serial` tells one from another. */
export function makeCertificate (serial: number): TestCertificate {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const name = der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, der(UTF8_STRING, Buffer.from('localhost')))))
  const validity = der(SEQUENCE, ...['000101000000Z', '491231235959Z'].map((time) => der(UTC_TIME, Buffer.from(time))))
  const names = der(SEQUENCE, Buffer.concat([Buffer.from([0x82, 9]), Buffer.from('localhost')]))
  const extensions = der(0xa3, der(SEQUENCE, der(SEQUENCE, SUBJECT_ALTERNATIVE_NAME, der(OCTET_STRING, names))))
  const certificate = der(
    SEQUENCE, der(0xa0, Buffer.from([INTEGER, 1, 2])), der(INTEGER, Buffer.from([serial])), ECDSA_WITH_SHA256, name, validity, name,
    publicKeyOf(privateKey), extensions
  )
  const signature = der(BIT_STRING, Buffer.from([0]), sign('sha256', certificate, privateKey))
  const text = der(SEQUENCE, certificate, ECDSA_WITH_SHA256, signature).toString('base64').replaceAll(/(.{64})/g, '$1\n')
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${text.trim()}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  }
}

function publicKeyOf (privateKey: KeyObject): Buffer {
  return createPublicKey(privateKey).export({ type: 'spki', format: 'der' })
}
