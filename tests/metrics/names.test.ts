/** What documents, dashboard and alert rules call a metric is what a running daemon calls it. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { limits } from '../../lib/limits.js'
import { hostMetrics } from '../../lib/metrics/host-metrics.js'
import { volumeMetrics } from '../../lib/metrics/volume-metrics.js'
import { LabHost } from '../../fixtures/lab/daemon.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { ROOT, Workspace } from '../../fixtures/lab/workspace.js'
import { metricsOf, typesOf } from './measured-cluster.js'

interface Described { readonly name: string; readonly type: string; readonly labels?: readonly string[]; readonly help: string }

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const document = read('docs/observability.md')

/** Rows of the table below this heading, as they stand there. */
const rowsUnder = (heading: string): string[] => (document.split(/^## /m).find((part) => part.startsWith(heading)) ?? '').split('\n').filter((line) => line.startsWith('| `'))
const rowOf = ({ name, type, labels = [], help }: Described): string => `| \`${name}\` | ${type} | ${labels.join(', ') || '-'} | ${help} |`

async function answer(t: Test): Promise<string> {
  const work = new Workspace('names')
  t.teardown(() => work.close())
  const host = new LabHost(work, 'a', `[host]\nname = "a"\ncontrol_socket = "${work.file('a.ctl')}"\n[region]\npath = "${work.file('region')}"\nsize = "12MiB"\nsegment_size = "2MiB"\n` +
    `[[volume]]\nname = "db01"\nbacking = "${work.image('db01.raw', 2 ** 20)}"\nsocket = "${work.file('s')}"\ncopies = 0\n`)
  await host.start()
  return metricsOf(host)
}

/** `name{label="x"}` and bare names, without what only a histogram adds. */
function used(text: string, known: ReadonlyMap<string, string>): { readonly name: string; readonly labels: readonly string[] }[] {
  return [...text.matchAll(/\b((?:holdfast|process)_[a-z_]+)(?:\{([^}]*)\})?/g)].map(([, full, selector = '']) => {
    const base = full!.replace(/_(bucket|sum|count)$/, '')
    return { name: known.get(base) === 'histogram' ? base : full!, labels: [...selector.matchAll(/(\w+)=~?\\?"/g)].map((m) => m[1]!) }
  })
}

t.test('the documented metrics are those of the code, word for word', async (t) => {
  t.same(rowsUnder('Metrics of a volume'), volumeMetrics.map(rowOf))
  t.same(rowsUnder('Metrics of a host'), hostMetrics.map(rowOf))
  const names = [...volumeMetrics, ...hostMetrics].map(({ name }) => name)
  t.equal(new Set(names).size, names.length)
  for (const { name, type } of [...volumeMetrics, ...hostMetrics] as readonly Described[]) {
    t.equal(name.endsWith('_total'), type === 'counter', `${name}: counters end with _total`)
    t.notMatch(name, /_(ms|us|milliseconds|kib|mib)(_|$)/, `${name}: base units`)
  }
  t.match(document, `It holds ${limits.httpConnectionsMax} connections at most`)
  t.match(document, `last ${limits.recentLines} log lines`)
  t.match(document, `are written ${limits.logRepeatsMax} times within ${limits.logWindowMs / 1000} s`)
})

t.test('a running daemon has them all, and no others; Grafana and the alert rules name no others', async (t) => {
  const types = typesOf(await answer(t)), defined: readonly Described[] = [...volumeMetrics, ...hostMetrics]
  t.same([...types].sort(), defined.map(({ name, type }) => [name, type]).sort())
  const labels = new Map(defined.map(({ name, labels = [] }) => [name, ['instance', 'job', 'le', ...(volumeMetrics.some((m) => m.name === name) ? ['volume'] : []), ...labels]]))
  for (const [file, least] of [['observability/grafana-dashboard.json', 25], ['observability/alerts.yml', 20], ['observability/alerts.test.yml', 8], ['docs/observability.md', 40]] as const) {
    const names = used(read(file), types)
    t.ok(new Set(names.map(({ name }) => name)).size >= least, `${file} names metrics`)
    for (const { name, labels: selected } of names) {
      if (!types.has(name)) t.fail(`${file}: there is no ${name}`)
      else for (const label of selected) if (!labels.get(name)!.includes(label)) t.fail(`${file}: ${name} has no label ${label}`)
    }
  }
})

t.test('the dashboard of Grafana: panels that do not overlap, each with a query', async (t) => {
  interface Panel { readonly id: number; readonly type: string; readonly title: string; readonly targets?: readonly { readonly expr: string }[]; readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number } }
  const { panels, uid } = JSON.parse(read('observability/grafana-dashboard.json')) as { panels: readonly Panel[]; uid: string }
  t.equal(uid, 'holdfast')
  t.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
  for (const { type, title, targets = [] } of panels) t.equal(targets.length > 0, type !== 'row', title)
  for (const [i, { title, gridPos: one }] of panels.entries()) {
    t.ok(one.x + one.w <= 24, title)
    for (const { title: second, gridPos: other } of panels.slice(i + 1)) {
      if (one.x < other.x + other.w && other.x < one.x + one.w && one.y < other.y + other.h && other.y < one.y + one.h) t.fail(`${title} and ${second} overlap`)
    }
  }
})

t.test('the alert rules do what they say', { skip: requires('promtool') && 'not here: promtool (it is in the Debian package prometheus)' }, async (t) => {
  const cwd = join(ROOT, 'observability')
  t.match(execFileSync('promtool', ['check', 'rules', 'alerts.yml'], { cwd, encoding: 'utf8' }), /SUCCESS: \d+ rules found/)
  t.match(execFileSync('promtool', ['test', 'rules', 'alerts.test.yml'], { cwd, encoding: 'utf8' }), /SUCCESS/)
})
