/** Claims as `salvage` finds them: looked at, never waited for, and their absence is no obstacle. */
import { basename, dirname, resolve } from 'node:path'
import type { ClaimWorkers } from '../claim/claim-workers.js'
import type { Claim } from '../core/claim.js'
import type { ClaimStore } from '../ports/claim-store.js'

export interface FoundClaim {
  /** The volume's name. */
  readonly name: string
  readonly store: ClaimStore
  readonly claim: Claim | null
  /** Why there is none. */
  readonly problem: string | null
}

/** `directory`: that of all claims, or of one volume. Empty where nothing can be read. */
export async function findClaims(directory: string, claims: ClaimWorkers): Promise<FoundClaim[]> {
  const path = resolve(directory), above = dirname(path), name = basename(path)
  const volumesIn = (place: string): Promise<readonly string[]> => claims.volumesIn(place).catch(() => [])
  const volumes = await volumesIn(path)
  if (volumes.length > 0) return Promise.all(volumes.map((volume) => claimOf(claims.store(path, volume), volume)))
  return (await volumesIn(above)).includes(name) ? [await claimOf(claims.store(above, name), name)] : []
}

async function claimOf(store: ClaimStore, name: string): Promise<FoundClaim> {
  try {
    const claim = await store.read()
    return { name, store, claim, problem: claim === null ? 'there is none' : null }
  } catch (error) {
    return { name, store, claim: null, problem: (error as Error).message }
  }
}
