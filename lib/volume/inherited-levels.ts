/** What a new owner's index begins with: the inherited logs, read here where they are here, else their holders' maps. */
import { hasMember, sameMember, type Claim, type InheritedLog, type Member } from '../core/claim.js'
import { IndexLayer } from '../core/index-layer.js'
import { RUN } from '../core/layer.js'
import { won, type Won } from '../core/units.js'
import type { Holder } from '../replica/holder.js'
import type { RemoteReader } from './remote-reader.js'
import type { Level, VolumeIndex } from './volume-index.js'

/** Is all that is kept of the log here? */
function isHere(holder: Holder, volume: string, log: InheritedLog): boolean {
  const local = holder.log(volume, log.epoch)
  return local !== undefined && local.storedLength >= log.kept && hasMember(log.holders, holder.self)
}

/** This host may know a higher base than those who were sealed: what it covers is not all here any more (R12). */
const baseHere = (holder: Holder, claim: Claim): Won => won(Math.max(claim.base, holder.region.volumeState(claim.volume).base))

/**
 * Oldest first. A log that only others hold has no layer yet: every read asks a holder. So it is for a log that is here, while
 * `left` has its index ready: the guest does not wait for it to be read, however much is dirty (`indexHere` does that behind
 * it). `byFlush`: a log that is here is cut where the guest's flushes were, so that it can be destaged in their order.
 */
export async function inheritedLevels(holder: Holder, claim: Claim, byFlush: boolean, left: Member | null): Promise<Level[]> {
  const levels: Level[] = []
  const base = baseHere(holder, claim)
  for (const log of claim.inherited) {
    if (log.start + log.kept <= base) continue
    const { epoch } = log, cut = won(log.start + log.kept)
    const asked = (holders: readonly Member[]): Level => ({ layer: null, remote: { ...log, holders }, epoch, cut, betweenFlushes: false })
    if (!isHere(holder, claim.volume, log)) levels.push(asked(first(left, log.holders)))
    else if (byFlush) {
      for (const part of await holder.log(claim.volume, epoch)!.buildCuts(log.kept, base)) levels.push({ ...part, remote: null, epoch, betweenFlushes: true })
    } else if (left !== null && hasMember(log.holders, left)) levels.push(asked(first(left, log.holders)))
    else levels.push({ layer: await holder.log(claim.volume, epoch)!.buildLayer(log.kept, base), remote: null, epoch, cut, betweenFlushes: false })
  }
  return levels
}

/** Who has an index of it in memory is asked first. */
function first(left: Member | null, holders: readonly Member[]): readonly Member[] {
  return left === null || !hasMember(holders, left) ? holders : [left, ...holders.filter((m) => !sameMember(m, left))]
}

/** Is there anything for `indexHere`, or for `fetchMaps`? */
export const canIndex = (index: VolumeIndex, holder: Holder, volume: string): boolean =>
  index.inherited.some(({ remote, layer }) => remote !== null && (layer === null || isHere(holder, volume, remote)))

/** Reads here what is here, instead of asking others for it. A claim change meanwhile may leave a log to its other holders. */
export async function indexHere(index: VolumeIndex, holder: Holder, claim: () => Claim, warn: (message: string) => void): Promise<void> {
  for (const level of [...index.inherited]) {
    const { volume } = claim(), base = baseHere(holder, claim())
    if (level.remote === null || !isHere(holder, volume, level.remote)) continue
    try {
      const layer = await holder.log(volume, level.remote.epoch)!.buildLayer(level.remote.kept, base)
      if (claim().inherited.some((log) => log.epoch === level.epoch && hasMember(log.holders, holder.self))) index.arrived(level, layer)
    } catch (error) {
      warn(`the log of epoch ${level.epoch} cannot be read here: ${(error as Error).message}; its other holders are asked for it`)
    }
  }
}

/** Fetches the maps that are missing, so that a read asks a holder only for what it has. */
export async function fetchMaps(levels: readonly Level[], remote: RemoteReader, warn: (message: string) => void): Promise<void> {
  for (const level of levels) {
    if (level.remote === null || level.layer !== null) continue
    try {
      const map = await remote.map(level.remote)
      const layer = new IndexLayer()
      for (let i = 0; map !== null && i + 2 < map.length; i += 3) {
        if (map[i + 2] === RUN.zero) layer.putZero(map[i]!, map[i + 1]!)
        else layer.putData(map[i]!, map[i + 1]!, map[i]!)
      }
      level.layer = layer
    } catch (error) {
      warn(`the dirty map of epoch ${level.epoch} did not come: ${(error as Error).message}; reads go on asking its holders`)
    }
  }
}
