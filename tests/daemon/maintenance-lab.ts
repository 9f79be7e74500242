/** A cluster with a guest that has written, for tests of what is done with hosts. */
import type { Test } from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import type { LabHost } from '../../fixtures/lab/daemon.js'
import { until } from '../../fixtures/lab/workspace.js'
import { holdfast, type Outcome } from '../cli/holdfast.js'
import { DiskModel, MODEL_BUFFER_BYTES } from '../volume/disk-model.js'
import { lab, PATIENT, type Lab } from '../volume/lab.js'

const SECTORS = 2049
export const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
export const host = (at: LabHost, ...args: string[]): Promise<Outcome> => holdfast('host', ...args, '--control', at.controlPath)

export interface Bench extends Lab { readonly client: VhostClient; readonly model: DiskModel; readonly at: (name: string) => LabHost; readonly set: () => Promise<readonly string[]> }

/** a serves a guest that has written; nothing is destaged by itself. */
export async function bench(t: Test, name: string, hosts: readonly string[], extra = ''): Promise<Bench> {
  const place = await lab(t, name, SECTORS * 512, { hosts, timing: PATIENT, volume: 'destage_delay = "1h"', extra }), { cluster } = place
  await cluster.start()
  await until('all hosts to be connected', 10_000, async () => {
    const all = await Promise.all([...cluster.hosts.values()].map((each) => each.status()))
    return all.every(({ peers }) => peers.every((peer) => peer.dialed && peer.accepted))
  })
  const client = await VhostClient.connect(cluster.socket('a'), { bufferBytes: MODEL_BUFFER_BYTES }), model = new DiskModel(SECTORS, seed)
  await model.run(client, 100)
  return { ...place, client, model, at: (each) => cluster.host(each), set: async () => (await cluster.host('a').volume('db01')).set }
}
