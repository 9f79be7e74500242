/** Two hosts that name each other in their configuration, others that nobody names, and a record that all of them follow. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { PeerList } from '../../lib/ports/control.js'
import type { LabHost } from '../../fixtures/lab/daemon.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'
import { holdfast, type Outcome } from '../cli/holdfast.js'
import { MODEL_BUFFER_BYTES } from '../volume/disk-model.js'
import { lab, PATIENT, type Lab } from '../volume/lab.js'

export const SECTORS = 2049
export const buffer = { bufferBytes: MODEL_BUFFER_BYTES }
const PAIR: readonly string[] = ['a', 'b']
export const peer = (at: LabHost, ...args: string[]): Promise<Outcome> => holdfast('peer', ...args, '--control', at.controlPath)
export const listOf = async (at: LabHost): Promise<PeerList> => JSON.parse((await peer(at, 'list', '--json')).stdout) as PeerList

export interface MembersLab extends Lab { readonly store: string; readonly at: (host: string) => LabHost; readonly address: (host: string) => string; readonly set: () => Promise<readonly string[]> }

/** a and b run and are connected. `folder`: where the record's place is made. */
export async function members(t: Test, name: string, hosts: readonly string[], folder: (work: Workspace) => Promise<string> | string = ({ path }) => path): Promise<MembersLab> {
  const work = new Workspace(name), store = join(await folder(work), 'shared')
  mkdirSync(store)
  const place = await lab(t, work, SECTORS * 512, {
    hosts, timing: PATIENT, volume: 'destage_delay = "1h"', replicas: null, store, configured: (host) => PAIR.includes(host) ? PAIR : [],
  })
  const at = (host: string): LabHost => place.cluster.host(host)
  await Promise.all(PAIR.map((host) => at(host).start()))
  await place.cluster.connected('a', 'b')
  return { ...place, store, at, address: (host) => place.cluster.addresses.get(host)!, set: async () => (await at('a').volume('db01')).set }
}

/** Both hosts of a pair have each other as a peer and are connected in both directions. */
export const peersNow = (lab: Lab, one: string, other: string): Promise<true> => until(`${one} and ${other}`, 25_000, async () => {
  const ends = await Promise.all([[one, other], [other, one]].map(async ([host, name]) => (await lab.cluster.host(host!).status()).peers.find((p) => p.host === name)))
  return ends.every((end) => end?.dialed === true && end.accepted)
})
