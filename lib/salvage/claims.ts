/** Claims as `salvage` finds them: looked at, never waited for, and their absence is no obstacle. */
import { readdirSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { PosixDirClaimStore } from '../claim/posix-dir.js'
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

const EPOCH_FILE = /^epoch-\d{16}\.json$/

/** `directory`: that of all claims, or of one volume. Empty where nothing can be read. */
export async function findClaims(directory: string): Promise<FoundClaim[]> {
  const path = resolve(directory), names = entriesOf(path)
  if (names.some((name) => EPOCH_FILE.test(name))) return [await claimOf(dirname(path), basename(path))]
  const volumes = names.filter((name) => entriesOf(join(path, name)).some((entry) => EPOCH_FILE.test(entry)))
  return Promise.all(volumes.map((name) => claimOf(path, name)))
}

function entriesOf(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

async function claimOf(directory: string, name: string): Promise<FoundClaim> {
  const store = new PosixDirClaimStore(directory, name)
  try {
    const claim = await store.read()
    return { name, store, claim, problem: claim === null ? 'there is none' : null }
  } catch (error) {
    return { name, store, claim: null, problem: (error as Error).message }
  }
}
