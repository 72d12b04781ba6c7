/** The Helm chart: rendered by the real helm for every value that it has, and held against schemas and the settings. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { parse } from 'yaml'
import { loadSettings } from '#src/config/load.js'
import { readDocument } from '../support/documents.js'
import { queryableNames } from '../support/metric-catalogue.js'
import { faultsOfQuery } from '../support/promql.js'
import { Helm, NAMESPACE, RELEASE, type Manifest } from './fixtures/helm.js'
import { readImage } from './fixtures/image.js'
import { faultsOfManifests } from './fixtures/schemas.js'
import { REFUSED, VALUE_SETS } from './fixtures/values.js'

const image = readImage()
const chart = (file: string) => parse(readDocument(`deploy/helm/bankswitch/${file}`)) as Record<string, any>

let helm: Helm
let folder: string
const rendered = new Map<string, Manifest[]>()

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bankswitch-helm-'))
  helm = await Helm.open(folder)
  for (const [name, values] of Object.entries(VALUE_SETS)) rendered.set(name, await helm.template(values))
})
after(() => rm(folder, { recursive: true, force: true }))

const only = (manifests: readonly Manifest[], ...kinds: string[]): Manifest | undefined => {
  const found = manifests.filter(({ kind }) => kinds.includes(kind))
  assert.ok(found.length <= 1, kinds.join())
  return found[0]
}
const workloadOf = (manifests: readonly Manifest[]): Manifest => only(manifests, 'StatefulSet', 'Deployment')!

/** What the pod's environment says, its Secret's entries by what the chart or somebody else puts there. */
function environmentOf (manifests: readonly Manifest[]): Record<string, string> {
  const own = only(manifests, 'Secret')?.stringData as Record<string, string> | undefined
  const elsewhere: Record<string, string> = { 'admin-key': 'a-key-from-elsewhere', store: 'postgres://from:elsewhere@h/d' }
  const [container] = workloadOf(manifests).spec.template.spec.containers as [Manifest]
  return Object.fromEntries((container.env as Array<{ name: string, value?: string, valueFrom?: any }>).map(({ name, value, valueFrom }) => {
    const key = valueFrom?.secretKeyRef?.key as string | undefined
    const text = key === undefined ? value : (own ?? elsewhere)[key]
    assert.equal(typeof text, 'string', name)
    return [name, text!]
  }))
}

/** `a.b.c` of everything in a tree that is no tree of its own. */
function leavesOf (value: unknown, path = ''): Map<string, unknown> {
  const isTree = typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0
  if (!isTree) return new Map([[path, value]])
  return new Map(Object.entries(value).flatMap(([name, inner]) => [...leavesOf(inner, path === '' ? name : `${path}.${name}`)]))
}

describe('the chart', () => {
  it('has the version of what it runs', () => {
    const { version } = JSON.parse(readDocument('package.json')) as { version: string }
    assert.equal(String(chart('Chart.yaml').appVersion), version)
  })

  it('is tried here with another value in the place of every default', () => {
    const sets = Object.values(VALUE_SETS).map((values) => leavesOf(values))
    const prefixes = (path: string) => path.split('.').map((_, at, names) => names.slice(0, at + 1).join('.'))
    const untouched = [...leavesOf(chart('values.yaml'))].filter(([path, value]) => !sets.some((set) => {
      const other = prefixes(path).find((prefix) => set.has(prefix))
      const isWithin = [...set.keys()].some((leaf) => leaf.startsWith(`${path}.`))
      return isWithin || (other !== undefined && JSON.stringify(set.get(other)) !== JSON.stringify(value))
    })).map(([path]) => path)
    // The security context of a container is what it must be.
    assert.deepEqual(untouched.filter((path) => !/^(security|podSecurity)Context\./.test(path)), [])
  })

  it('names in its schema each of its values, and no other', () => {
    const { properties } = chart('values.schema.json')
    assert.deepEqual(Object.keys(properties).filter((name) => name !== 'global').toSorted(), Object.keys(chart('values.yaml')).toSorted())
  })

  for (const [name, values] of Object.entries(VALUE_SETS)) {
    it(`passes helm lint: ${name}`, async () => {
      const { code, output } = await helm.lint(values)
      assert.equal(code, 0, output)
      assert.doesNotMatch(output, /\[(WARNING|ERROR)\]/)
    })
  }

  it('is what the schemas of Kubernetes and its extensions ask for', () => {
    assert.deepEqual(faultsOfManifests([...rendered.values()].flat()), [])
  })

  for (const [name, [values, told]] of Object.entries(REFUSED)) {
    it(`refuses ${name}`, async () => {
      const refusal = await helm.template(values).then(() => assert.fail('it is taken'), (error: Error) => error.message)
      assert.match(refusal, /schema/)
      assert.match(refusal, told)
    })
  }
})

describe('schemas', () => {
  it('see members that do not exist, values of another type, and what is missing', () => {
    const pod = workloadOf(rendered.get('the defaults')!)
    const changed = (change: (manifest: Manifest) => void) => {
      const manifest = structuredClone(pod)
      change(manifest)
      return faultsOfManifests([manifest]).join('\n')
    }
    assert.match(changed(({ spec }) => { spec.template.spec.containers[0].readinesProbe = {} }), /readinesProbe/)
    assert.match(changed(({ spec }) => { spec.template.spec.terminationGracePeriodSeconds = '45' }), /terminationGracePeriodSeconds/)
    assert.match(changed(({ spec }) => { delete spec.selector }), /selector/)
    assert.throws(() => faultsOfManifests([{ ...pod, kind: 'Daemon' }]), /Daemon/)
  })
})

for (const name of Object.keys(VALUE_SETS)) {
  describe(`the chart with ${name}`, () => {
    let manifests: Manifest[]
    let pod: Record<string, any>
    let container: Record<string, any>
    before(() => {
      manifests = rendered.get(name)!
      pod = workloadOf(manifests).spec.template.spec
      assert.equal(pod.containers.length, 1)
      container = pod.containers[0]
    })

    it('has one replica on files, as many as wanted on a database', () => {
      const { kind, spec } = workloadOf(manifests)
      const scaled = only(manifests, 'HorizontalPodAutoscaler', 'ScaledObject')
      if (kind === 'StatefulSet') {
        assert.equal(spec.replicas, 1)
        assert.equal(scaled, undefined)
        assert.equal(only(manifests, 'PodDisruptionBudget'), undefined)
        const claimed = [...spec.volumeClaimTemplates ?? [], ...pod.volumes.filter((volume: any) => volume.persistentVolumeClaim)]
        assert.ok(claimed.some(({ name, metadata }: any) => (name ?? metadata.name) === 'data'))
        return
      }
      assert.equal(scaled === undefined, Number.isInteger(spec.replicas))
      if (scaled !== undefined) assert.deepEqual(scaled.spec.scaleTargetRef, { apiVersion: 'apps/v1', kind: 'Deployment', name: workloadOf(manifests).metadata.name })
    })

    it('runs as nobody in particular, and may write in its volumes only', () => {
      assert.equal(pod.automountServiceAccountToken, false)
      assert.equal(pod.securityContext.runAsNonRoot, true)
      assert.ok(pod.securityContext.runAsUser > 0 && pod.securityContext.fsGroup > 0)
      assert.deepEqual(pod.securityContext.seccompProfile, { type: 'RuntimeDefault' })
      assert.deepEqual(container.securityContext, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } })
      const mounts = container.volumeMounts as Array<{ name: string, mountPath: string, readOnly?: boolean }>
      const writable = mounts.filter(({ readOnly }) => readOnly !== true).map(({ mountPath }) => mountPath)
      const { store, cacheDir, jobsDir, auditFile, adminKey, adminKeyFile } = loadSettings({ ...image.environment, ...settings() }, [])
      const written = [cacheDir, jobsDir, auditFile, ...store.startsWith('/') ? [store] : [], ...adminKey === undefined ? [adminKeyFile] : []]
      for (const path of written) assert.ok(writable.some((folder) => path.startsWith(`${folder}/`) || path === folder), path)
      const volumes = [...pod.volumes, ...(workloadOf(manifests).spec.volumeClaimTemplates ?? []).map((claim: Manifest) => claim.metadata)]
      assert.deepEqual(volumes.map((volume: { name: string }) => volume.name).toSorted(), mounts.map((mount) => mount.name).toSorted())
    })

    const settings = () => Object.fromEntries(Object.entries(environmentOf(manifests)).filter(([variable]) => variable.startsWith('BANKSWITCH_')))

    it('sets settings that there are, each once, as they were given', () => {
      const names = container.env.map((variable: { name: string }) => variable.name) as string[]
      assert.deepEqual([...new Set(names)], names)
      loadSettings({ ...image.environment, ...settings() }, [])
      const given = (VALUE_SETS[name].settings ?? chart('values.yaml').settings) as Record<string, unknown>
      for (const [variable, value] of Object.entries(given)) assert.equal(settings()[variable], String(value))
      for (const { name: variable, value } of VALUE_SETS[name].extraEnv ?? []) assert.equal(environmentOf(manifests)[variable], value)
    })

    it('leaves a pod more time than the server takes to stop', () => {
      const { shutdownMs } = loadSettings({ ...image.environment, ...settings() }, [])
      const [, preStop] = container.lifecycle.preStop.exec.command as [string, string]
      assert.ok(pod.terminationGracePeriodSeconds * 1000 > shutdownMs + Number(preStop) * 1000)
    })

    it('asks after health at ports that there are, in the scheme that they speak', () => {
      const { port, adminPort, tlsCertificateFile } = loadSettings({ ...image.environment, ...settings() }, [])
      const ports = container.ports as Array<{ name: string, containerPort: number }>
      assert.deepEqual(ports.map(({ containerPort }) => containerPort), [port, ...adminPort === undefined ? [] : [adminPort]])
      const scheme = tlsCertificateFile === undefined ? 'HTTP' : 'HTTPS'
      for (const [probe, path] of [['startupProbe', '/livez'], ['livenessProbe', '/livez'], ['readinessProbe', '/readyz']] as const) {
        assert.deepEqual(container[probe].httpGet, { path, port: 'http', scheme })
      }
      for (const service of manifests.filter(({ kind }) => kind === 'Service')) {
        for (const { targetPort, appProtocol } of service.spec.ports) {
          assert.ok(ports.some(({ name }) => name === targetPort), targetPort)
          assert.equal(appProtocol, scheme.toLowerCase())
        }
      }
    })

    it('selects its own pods and Services', () => {
      const { labels } = workloadOf(manifests).spec.template.metadata
      const selects = (selector: Record<string, string>, found: Record<string, string>) => {
        return Object.entries(selector).every(([key, value]) => found[key] === value)
      }
      const selectors = [
        workloadOf(manifests).spec.selector.matchLabels,
        ...pod.topologySpreadConstraints.map((spread: any) => spread.labelSelector.matchLabels),
        ...manifests.filter(({ kind }) => kind === 'Service').map(({ spec }) => spec.selector),
        ...manifests.filter(({ kind }) => kind === 'PodDisruptionBudget').map(({ spec }) => spec.selector.matchLabels),
        ...manifests.filter(({ kind }) => kind === 'NetworkPolicy').map(({ spec }) => spec.podSelector.matchLabels)
      ]
      for (const selector of selectors) assert.ok(Object.keys(selector).length === 2 && selects(selector, labels), JSON.stringify(selector))
      const monitor = only(manifests, 'ServiceMonitor')
      if (monitor === undefined) return
      const monitored = manifests.filter(({ kind, metadata }) => kind === 'Service' && selects(monitor.spec.selector.matchLabels, metadata.labels))
      assert.equal(monitored.length, 1)
      assert.deepEqual(monitored[0]!.spec.ports.map((port: { name: string }) => port.name), [monitor.spec.endpoints[0].port])
    })

    it('refers to Secrets that it makes, or that are said to be there', () => {
      const own = only(manifests, 'Secret')?.metadata.name
      const named = JSON.stringify(pod).matchAll(/"secretName":"([^"]+)"|"secretKeyRef":\{[^}]*"name":"([^"]+)"/g)
      for (const [, first, second] of named) assert.ok([own, 'elsewhere', 'certificate'].includes(first ?? second), first ?? second)
      assert.equal(own === undefined, VALUE_SETS[name].secret?.existing !== undefined || VALUE_SETS[name].secret === undefined)
    })
  })
}

describe('scaling by rows that wait', () => {
  it('asks for this release\'s metric, as Prometheus labels it, by its value for each replica', () => {
    const manifests = rendered.get('PostgreSQL, scaled by the chart\'s own query')!
    const [trigger] = only(manifests, 'ScaledObject')!.spec.triggers as [{ type: string, metricType: string, metadata: { query: string } }]
    assert.deepEqual([trigger.type, trigger.metricType], ['prometheus', 'AverageValue'])
    assert.deepEqual(faultsOfQuery(trigger.metadata.query, queryableNames(), ['namespace', 'service']), [])
    const services = manifests.filter(({ kind }) => kind === 'Service').map(({ metadata }) => metadata.name)
    assert.deepEqual(services, [`${RELEASE}-bankswitch`])
    assert.equal(trigger.metadata.query, `sum(bankswitch_queue_rows{namespace="${NAMESPACE}", service="${services[0]}"})`)
  })
})

describe('names', () => {
  it('of images: a digest goes before a tag, and the version of the chart is the tag of none', () => {
    const imageOf = (name: string) => workloadOf(rendered.get(name)!).spec.template.spec.containers[0].image as string
    assert.equal(imageOf('the defaults'), `bankswitch:${chart('Chart.yaml').appVersion}`)
    assert.match(imageOf('files, with every value for them'), /^registry\.example\/bankswitch@sha256:[0-9a-f]{64}$/)
    assert.equal(imageOf('PostgreSQL with every value for it, scaled by rows that wait'), 'registry.example/bankswitch:9.9.9')
  })
})
