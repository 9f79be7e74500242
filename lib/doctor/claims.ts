/**
 * The claim directory, tried out with the very code that ownership depends on, in a folder beside the claims that nobody else looks
 * at: two stores, one change that is won and one that must be lost.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdir, rm, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PosixDirClaimStore } from '../claim/posix-dir.js'
import type { Claim } from '../core/claim.js'
import { epoch, won } from '../core/units.js'
import type { ClaimStore } from '../ports/claim-store.js'
import { fail, failedBy, messageOf, ok, type Finding } from './finding.js'

function claimOf(host: string): Claim {
  const owner = { host, incarnation: '0'.repeat(32) }
  return {
    format: 1, volume: randomUUID(), epoch: epoch(1), owner, set: [owner], mode: 'write-through', start: won(0), inherited: [], base: won(0), quarantine: false,
    guest: { capacityBytes: 512, blockSizeBytes: 512, serial: 'doctor', durability: 'flush', discards: false }, nonce: randomBytes(16).toString('hex'),
  }
}

/** `about`: the volumes that have their claims there. */
export async function checkClaims(directory: string, about: string, host: string): Promise<Finding[]> {
  const name = `doctor-${process.pid}-${randomBytes(4).toString('hex')}`, folder = join(directory, name)
  let made: string | undefined
  try {
    made = await mkdir(folder, { recursive: true })
  } catch (error) {
    return [fail(about, `the claim directory ${directory} cannot be used: ${messageOf(error)}`, 'mount the shared storage, or set claims to a directory that this host may write to')]
  }
  try {
    return [await race(new PosixDirClaimStore(directory, name), new PosixDirClaimStore(directory, name), directory, about, host)]
  } catch (error) {
    return [failedBy(about, error, 'look at the shared storage')]
  } finally {
    await rm(folder, { recursive: true, force: true })
    await removeMade(directory, made)
  }
}

/** As two hosts would, one after the other: the second must see what the first has done. */
export async function race(first: ClaimStore, second: ClaimStore, directory: string, about: string, host: string): Promise<Finding> {
  const broken = (what: string): Finding =>
    fail(about, `the file system of ${directory} ${what}`, 'put claims on one with atomic link() and rename(), like NFS, CephFS or GFS2; two hosts could own a volume here')
  await first.beat({ owner: claimOf(host).owner, epoch: epoch(1), counter: 1 })
  if ((await second.readBeat())?.counter !== 1) return broken('does not show a file that was just renamed into place')
  const [winner, loser] = [claimOf(host), claimOf(host)], outcomes = [await first.compareAndSwap(epoch(0), winner), await second.compareAndSwap(epoch(0), loser)]
  if (outcomes[0] !== 'won') return broken('has no link(), which decides who owns a volume')
  if (outcomes[1] !== 'lost') return broken('lets two hosts make the same change of a claim')
  if ((await second.read())?.nonce !== winner.nonce) return broken('shows another claim than the one that won')
  return ok(about, `claims in ${directory}: of two changes at once one is won and one is lost`)
}

/** Folders above that were missing before, when nobody has begun to use them. */
async function removeMade(directory: string, made: string | undefined): Promise<void> {
  if (made === undefined || made.length > directory.length) return
  for (let at = directory; at.length >= made.length; at = dirname(at)) {
    try { await rmdir(at) } catch { return }
  }
}
