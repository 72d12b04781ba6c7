// Follows the README: `npm start`, then its first curl, and looks for the answer it promises.
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

const READY_WITHIN_MS = 60_000

const readme = readFileSync('README.md', 'utf8')
const blocks = [...readme.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, text]) => text.trim())
const install = blocks.find((block) => block.includes('npm ci && npm start'))
const curl = blocks.find((block) => block.startsWith('curl') && block.includes('X-Domain: lowlight'))
const promised = /"label":\s*"([^"]+)"/.exec(readme)?.[1]
if (install === undefined || curl === undefined || promised === undefined) {
  throw new Error('the README lacks its first commands')
}

const server = spawn('npm', ['start'], { stdio: 'inherit', detached: true })
try {
  await ready()
  const { stdout, stderr, status } = spawnSync('bash', ['-c', curl], { encoding: 'utf8' })
  console.log(stdout)
  const answer = status === 0 ? JSON.parse(stdout) : {}
  if (answer.predictions?.[0]?.label !== promised) {
    throw new Error(`expected "${promised}", got: ${stdout} ${stderr}`)
  }
} finally {
  process.kill(-server.pid, 'SIGTERM')
}

async function ready () {
  const end = Date.now() + READY_WITHIN_MS
  while (Date.now() < end) {
    try {
      if ((await fetch('http://127.0.0.1:8080/readyz')).ok) return
    } catch {
      // Not listening yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  throw new Error(`not ready within ${READY_WITHIN_MS} ms`)
}
