/**
 * What speaks against cutting a host off for good, as far as one host can know: it may have the only other copy of something. Others
 * own other volumes, so what could not be looked at is said as well.
 */
import type { Claim } from '../core/claim.js'
import type { Volume } from '../volume/volume.js'
import { formatBytes } from '../config/units.js'

export interface RevocationView { readonly reasons: readonly string[]; readonly unknown: readonly string[] }

/** `claimOf`: the claim as it stands on the shared storage now. */
export async function viewOfRevocation(host: string, self: string, volumes: readonly Volume[], claimOf: (volume: Volume) => Promise<Claim | null>): Promise<RevocationView> {
  const reasons: string[] = [], unknown: string[] = []
  for (const volume of volumes) {
    const about = `volume ${volume.name}`
    if (volume.serving) { reasons.push(...onlyThere(volume, host, self).map((why) => `${about}: ${why}`)); continue }
    let claim: Claim | null
    try { claim = await claimOf(volume) } catch { unknown.push(`${about}: its claim cannot be read`); continue }
    if (claim === null || claim.released === true) continue
    const holds = [...claim.set, ...claim.inherited.flatMap((log) => log.holders)].some((m) => m.host === host)
    if (claim.owner.host === host) reasons.push(`${about}: ${host} owns it, and would go on without copies`)
    else if (holds) unknown.push(`${about}: ${host} has a copy, and whether it is the only other one is known on ${claim.owner.host}, which owns it`)
  }
  return { reasons, unknown: [...unknown, 'volumes that are not configured on this host'] }
}

function onlyThere(volume: Volume, host: string, self: string): string[] {
  const claim = volume.claim!, { inheritedDone } = volume.driver.state
  const hostsOf = (members: Claim['set']): string[] => [...new Set(members.map((m) => m.host))]
  const loses = (hosts: readonly string[]): boolean => hosts.includes(host) && !hosts.some((each) => each !== host && each !== self)
  const found: string[] = []
  if (!volume.index.empty && loses(hostsOf(claim.set))) found.push(`${host} has the only other copy of ${formatBytes(volume.index.dirtyBytes)} that are not on its backing yet`)
  if (inheritedDone) return found
  for (const log of claim.inherited) {
    const holders = hostsOf(log.holders)
    if (loses(holders)) found.push(`${host} has the only ${holders.includes(self) ? 'other ' : ''}copy of epoch ${log.epoch}, which is not on its backing yet`)
  }
  return found
}
