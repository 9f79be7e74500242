/** Two hosts, a volume with a copy on the other one, a load of known size, and what /metrics says of it. */
import { request as httpRequest } from 'node:http'
import type { Test } from 'tap'
import { VhostClient, type ClientKind } from '../../lib/client/front-end.js'
import { LabCluster } from '../../fixtures/lab/cluster.js'
import type { LabHost } from '../../fixtures/lab/daemon.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const BLOCK = 4096, SECTORS = BLOCK / 512, DEPTH = 8
export const IMAGE_BYTES = 32 * 2 ** 20

/** By name with labels, as it is written in the answer. */
export type Series = ReadonlyMap<string, number>

export interface MeasuredCluster { readonly cluster: LabCluster; readonly a: LabHost; readonly work: Workspace; readonly client: VhostClient; readonly metrics: () => Promise<string> }

export const MANY_DIRTY = 'destage_delay = "1h"\ndestage_at = "1TiB"\ndomain = "vm17"'

/** `extra`: more of the configuration of both hosts, by host. */
export async function measuredCluster(t: Test, name: string, options: { volume?: string; extra?: (host: string) => string; domains?: Record<string, string> } = {}): Promise<MeasuredCluster> {
  const work = new Workspace(name)
  t.teardown(() => work.close())
  const cluster = await LabCluster.create(work, {
    image: work.image('db01.raw', IMAGE_BYTES), hosts: ['a', 'b'], copies: 1, volume: options.volume ?? MANY_DIRTY, ...(options.domains === undefined ? {} : { domains: options.domains }),
  })
  for (const [host, daemon] of cluster.hosts) daemon.append(`\n${options.extra?.(host) ?? ''}\n`)
  await cluster.start()
  const client = await VhostClient.connect(cluster.socket('a'), { bufferBytes: DEPTH * BLOCK })
  t.teardown(() => client.close().catch(() => client.abort()))
  const a = cluster.host('a')
  return { cluster, a, work, client, metrics: () => metricsOf(a) }
}

/** Blocks from `from` on, eight at a time. */
export async function load(client: VhostClient, kind: ClientKind, from: number, count: number): Promise<void> {
  let next = from
  await Promise.all(Array.from({ length: DEPTH }, async (_, slot) => {
    while (next < from + count) {
      const status = await client.submit({ kind, lbaSectors: next++ * SECTORS, lengthSectors: SECTORS, bufferOffset: slot * BLOCK })
      if (status !== 0) throw new Error(`a ${kind} ended with status ${status}`)
    }
  }))
}

export const flush = (client: VhostClient): Promise<number> => client.submit({ kind: 'flush', lbaSectors: 0, lengthSectors: 0, bufferOffset: 0 })

export function metricsOf(host: LabHost): Promise<string> {
  return new Promise((resolve, reject) => {
    httpRequest({ socketPath: host.controlPath, path: '/metrics' }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk }).on('end', () => resolve(text))
    }).on('error', reject).end()
  })
}

export function seriesOf(text: string): Series {
  const series = new Map<string, number>()
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const at = line.lastIndexOf(' ')
    series.set(line.slice(0, at), Number(line.slice(at + 1)))
  }
  return series
}

/** What every metric is called and of which type, as the answer says it. */
export const typesOf = (text: string): ReadonlyMap<string, string> => new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((m) => [m[1]!, m[2]!]))
