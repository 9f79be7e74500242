/**
 * A place for claims, tried out with the very code that ownership depends on and nowhere near the claims: what others on the same
 * storage see of it is a folder with a name of its own, for some milliseconds.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdir, readdir, rm, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Claim } from '../core/claim.js'
import { epoch, won } from '../core/units.js'
import type { ClaimStore } from '../ports/claim-store.js'
import type { LeaseVolume } from './lease-volume.js'
import { PosixDirClaimStore } from './posix-dir.js'
import type { Proof } from './worker-calls.js'

function claimOf(host: string): Claim {
  const owner = { host, incarnation: '0'.repeat(32) }
  return {
    format: 1, volume: randomUUID(), epoch: epoch(1), owner, set: [owner], mode: 'write-through', start: won(0), inherited: [], base: won(0), quarantine: false,
    guest: { capacityBytes: 512, blockSizeBytes: 512, serial: 'proof', durability: 'flush', discards: false }, nonce: randomBytes(16).toString('hex'),
  }
}

export async function proveDirectory(directory: string, host: string): Promise<Proof> {
  const name = `proof-${process.pid}-${randomBytes(4).toString('hex')}`, folder = join(directory, name)
  let made: string | undefined
  try {
    made = await mkdir(folder, { recursive: true })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return { ok: false, text: `the claim directory ${directory} cannot be used: ${code === 'ENOENT' ? 'there is no such file' : message.replace(/, \w+ '.*'$/, '')}`, remedy: 'mount the shared storage, or set claims to a directory that this host may write to' }
  }
  try {
    return await race(new PosixDirClaimStore(directory, name), new PosixDirClaimStore(directory, name), directory, host || 'localhost', () => readdir(folder))
  } finally {
    await rm(folder, { recursive: true, force: true })
    await removeMade(directory, made)
  }
}

/** As two hosts would: the second must see what the first has done, and of two that come at once one must lose. */
export async function race(first: ClaimStore, second: ClaimStore, directory: string, host: string, list: () => Promise<readonly string[]>): Promise<Proof> {
  const broken = (what: string): Proof =>
    ({ ok: false, text: `the file system of ${directory} ${what}`, remedy: 'put claims on one with atomic link() and rename(), like NFS, CephFS or GFS2, or on a lease volume; two hosts could own a volume here' })
  const owner = claimOf(host).owner
  for (const counter of [1, 2]) {
    await first.beat({ owner, epoch: epoch(1), counter })
    if ((await second.readBeat())?.counter !== counter) return broken('does not show a file that was just renamed into place')
  }
  const claims = [claimOf(host), claimOf(host)] as const, outcomes = await Promise.all([first.compareAndSwap(epoch(0), claims[0]), second.compareAndSwap(epoch(0), claims[1])])
  if (outcomes.includes('unknown')) return broken('has no link(), which decides who owns a volume')
  if (outcomes[0] === outcomes[1]) return broken('lets two hosts make the same change of a claim')
  if ((await second.read())?.nonce !== claims[outcomes.indexOf('won')]!.nonce) return broken('shows another claim than the one that won')
  if (await first.compareAndSwap(epoch(0), claimOf(host)) !== 'lost') return broken('lets a change be made that comes too late')
  const listed = await list()
  if (!['epoch-0000000000000001.json', 'heartbeat.json'].every((name) => listed.includes(name))) return broken(`lists ${listed.join(', ') || 'nothing'} where a claim and a heartbeat are`)
  return { ok: true, text: `claims in ${directory}: of two changes at once one is won and one is lost` }
}

/** Folders above that were missing before, when nobody has begun to use them. */
async function removeMade(directory: string, made: string | undefined): Promise<void> {
  if (made === undefined || made.length > directory.length) return
  for (let at = directory; at.length >= made.length; at = dirname(at)) {
    try { await rmdir(at) } catch { return }
  }
}

/** Its own code proves itself with each write: it needs a device that keeps what it has confirmed. The slot is what is tried here. */
export async function proveLease(lease: LeaseVolume): Promise<Proof> {
  const { hosts, slots, volumes } = await lease.header(), text = `claims on the lease volume ${lease.path}: ${hosts.length} of ${slots} slots taken, room for ${volumes} volumes`
  if (lease.host === '') return { ok: true, text }
  await (await lease.session()).check()
  return { ok: true, text: `${text}, slot ${hosts.indexOf(lease.host)} is written and read back` }
}
