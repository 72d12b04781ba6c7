/** What `calibrate` and `signature` say and exit with when the server that they ask refuses. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { refusalOf } from '../support/command.js'
import { temporaryFolder } from '../support/folders.js'

interface Answer {
  status: number
  body: object | string
}

/** The command against a server that gives these answers, one after another. */
async function refused (t: TestContext, ...answers: Answer[]) {
  const server = createServer((request, response) => {
    const { status, body } = answers.shift()!
    request.resume().on('end', () => response.writeHead(status).end(typeof body === 'string' ? body : JSON.stringify(body)))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const picture = join(await temporaryFolder(t), 'picture.png')
  await writeFile(picture, 'a picture')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const argv = ['signature', '--model', 'm', '--domain', 'd', '--url', url, picture]
  return await refusalOf(argv, { BANKSWITCH_ADMIN_KEY: 'a-key-for-the-tests-only' })
}

describe('a server that is asked to calibrate and refuses', () => {
  it('is told by the exit code that the same would have here', async (t) => {
    for (const [status, code, expected] of [
      [404, 'MODEL_NOT_FOUND', 66], [401, 'KEY_UNKNOWN', 77], [400, 'CALIBRATION_OPTIONS_INVALID', 65], [412, 'PRECONDITION_FAILED', 73],
      [429, 'JOB_QUEUE_FULL', 75], [503, 'MODEL_NOT_READY', 69], [500, 'INTERNAL', 70], [418, 'X', 70]
    ] as const) {
      const refusal = await refused(t, { status, body: { error: 'it will not', code } })
      assert.deepEqual(refusal, { code: expected, stderr: `bankswitch: the server refused: it will not (${code})\n` })
    }
  })

  it('is quoted with what it expected and received, where its sentence does not say so', async (t) => {
    const accepted = { status: 202, body: { id: '1' } }
    const failing = (error: object) => ({ status: 200, body: { state: 'failed', error } })
    const few = { code: 'FEW', message: 'there are too few images', details: { expected: 'at least 32', received: 8 } }
    assert.deepEqual(await refused(t, accepted, failing(few)), {
      code: 65, stderr: 'bankswitch: the server refused: there are too few images (FEW); expected at least 32; received 8\n'
    })
    const unknown = { error: 'there is no "x"; there is day, fog', code: 'GONE', details: { expected: ['day', 'fog'], received: 'x' } }
    assert.deepEqual(await refused(t, { status: 404, body: unknown }), {
      code: 66, stderr: 'bankswitch: the server refused: there is no "x"; there is day, fog (GONE)\n'
    })
  })

  it('is one that does not speak JSON, such as a proxy', async (t) => {
    const { code, stderr } = await refused(t, { status: 502, body: '<html>' })
    assert.deepEqual([code, stderr], [70, 'bankswitch: the server refused: Bad Gateway (502)\n'])
  })
})
