// Follows the README: `npm start`, its first curl and the answer it promises, then its registration of a domain.
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

const READY_WITHIN_MS = 60_000

const readme = readFileSync('README.md', 'utf8')
const blocks = [...readme.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, text]) => text.trim())
const install = blocks.find((block) => block.includes('npm ci && npm start'))
const curl = blocks.find((block) => block.startsWith('curl') && block.includes('X-Domain: lowlight'))
const register = blocks.find((block) => block.includes('curl') && block.includes('/admin/'))
const promised = /"label":\s*"([^"]+)"/.exec(readme)?.[1]
if (install === undefined || curl === undefined || register === undefined || promised === undefined) {
  throw new Error('the README lacks its first commands')
}

const server = spawn('npm', ['start'], { stdio: 'inherit', detached: true })
try {
  await ready()
  const prediction = run(curl).predictions?.[0]
  if (prediction?.label !== promised) throw new Error(`expected "${promised}", not "${prediction?.label}"`)
  const registered = run(register)
  if (registered.active !== true) throw new Error('the domain was not registered')
} finally {
  process.kill(-server.pid, 'SIGTERM')
}

function run (command) {
  const { stdout, stderr, status } = spawnSync('bash', ['-c', command], { encoding: 'utf8' })
  console.log(stdout, stderr)
  return status === 0 ? JSON.parse(stdout) : {}
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
