/** What a new owner's index begins with: the inherited logs, read here where they are here, else their holders' maps. */
import { hasMember, type Claim } from '../core/claim.js'
import { IndexLayer } from '../core/index-layer.js'
import { RUN } from '../core/layer.js'
import { won } from '../core/units.js'
import type { Holder } from '../replica/holder.js'
import type { RemoteReader } from './remote-reader.js'
import type { Level } from './volume-index.js'

/**
 * Oldest first. A log that only others hold has no layer yet: every read asks a holder. `byFlush`: a log that is here
 * is cut where the guest's flushes were, so that it can be destaged in their order.
 */
export async function inheritedLevels(holder: Holder, claim: Claim, byFlush: boolean): Promise<Level[]> {
  const levels: Level[] = []
  for (const log of claim.inherited) {
    const { epoch } = log, cut = won(log.start + log.kept)
    const local = holder.log(claim.volume, log.epoch)
    if (local === undefined || local.storedLength < log.kept || !hasMember(log.holders, holder.self)) {
      levels.push({ layer: null, remote: log, epoch, cut, betweenFlushes: false })
    } else if (byFlush) {
      for (const part of await local.buildCuts(log.kept, claim.base)) levels.push({ ...part, remote: null, epoch, betweenFlushes: true })
    } else {
      levels.push({ layer: await local.buildLayer(log.kept, claim.base), remote: null, epoch, cut, betweenFlushes: false })
    }
  }
  return levels
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
