/**
 * May this host stop? Only when every acknowledged write keeps the copies that its volume's policy asks for, on other hosts,
 * or is on the backing. The owner is one of them: what is dirty here has one less without it.
 */
import type { StayReason } from '../ports/control.js'
import type { Holder } from '../replica/holder.js'
import type { Replica } from '../replica/replica.js'
import type { Volume } from '../volume/volume.js'
import { formatBytes } from '../config/units.js'

/** Empty: yes. `nameOf`: by a volume's id. */
export function reasonsToStay(volumes: readonly Volume[], holder: Holder, replica: Replica, nameOf: (id: string) => string): StayReason[] {
  const own = volumes.flatMap((volume) => served(volume, holder.self.host).map((reason) => ({ volume: volume.name, ...reason })))
  const serving = new Set(volumes.filter((volume) => volume.serving).map((volume) => volume.id!))
  const open = replica.feeds().filter(({ volume }) => !serving.has(volume))
  const copies = open.map(({ volume, owner }): StayReason => ({ volume: nameOf(volume), kind: 'copy', why: `its writes are copied to this host, and ${owner} serves it` }))
  const held = holder.needed(serving).filter((log) => !open.some(({ volume, epoch }) => volume === log.volume && epoch === log.epoch))
    .map((log): StayReason => ({ volume: nameOf(log.volume), kind: 'held', why: `${log.records} records of epoch ${log.epoch} are held here and not known to be on the backing` }))
  return [...own, ...copies, ...held]
}

function served(volume: Volume, self: string): Omit<StayReason, 'volume'>[] {
  const { claim } = volume, { phase, reason } = volume.driver.state
  if (!volume.serving) {
    const mine = claim?.owner.host === self && claim.released !== true
    return mine ? [{ kind: 'dirty', why: `this host is its owner and does not serve it (${phase}${reason === null ? '' : `: ${reason}`})` }] : []
  }
  const reasons: Omit<StayReason, 'volume'>[] = []
  if (volume.guestRuns) reasons.push({ kind: 'guest', why: 'a guest is served here; migrate it or shut it down' })
  if (!volume.index.empty) reasons.push({ kind: 'dirty', why: `${formatBytes(volume.index.dirtyBytes)} are not on its backing yet` })
  else if (claim!.quarantine) reasons.push({ kind: 'dirty', why: 'it is in quarantine: late writes may still reach its backing' })
  return reasons
}
