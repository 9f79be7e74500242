/** What a claim worker does: the calls of its daemon, on the claims themselves. */
import { constants } from 'node:fs'
import { open, readdir, realpath, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { EXIT, Failure } from '../core/failure.js'
import type { ClaimStore } from '../ports/claim-store.js'
import { AlignedMemory } from '../io/memory.js'
import type { SharedDocument } from '../ports/shared-document.js'
import { DirectoryDocument } from './directory-document.js'
import { LeaseDocument, nameOf } from './lease-document.js'
import { LeaseClaimStore } from './lease-store.js'
import { LeaseVolume } from './lease-volume.js'
import { proveDirectory, proveLease } from './prove.js'
import { EPOCH_FILE, PosixDirClaimStore } from './posix-dir.js'
import type { ClaimAnswers, ClaimCall, NumberedCall, WorkerMessage } from './worker-calls.js'

const REACH_BYTES = 4096
const stores = new Map<string, Promise<ClaimStore>>(), records = new Map<string, Promise<SharedDocument>>(), leases = new Map<string, Promise<LeaseVolume>>()

/** Made once; what could not be made is tried again. */
function once<T>(made: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  let one = made.get(key)
  if (one === undefined) {
    made.set(key, one = make())
    one.catch(() => made.delete(key))
  }
  return one
}

const storeOf = ({ place, volume, host }: { readonly place: string; readonly volume: string; readonly host: string }): Promise<ClaimStore> =>
  once(stores, JSON.stringify([place, volume, host]), async () =>
    (await isLease(place) ? new LeaseClaimStore(await leaseOf(place, host), volume) : new PosixDirClaimStore(place, volume)))

/** Beside the claims, where no volume can be: their names begin with a letter or digit. */
const MEMBERS = '.members'
const membersOf = ({ place, host }: { readonly place: string; readonly host: string }): Promise<SharedDocument> =>
  once(records, JSON.stringify([place, host]), async () => (await isLease(place) ? new LeaseDocument(await leaseOf(place, host), MEMBERS, 'members')
    : new DirectoryDocument(join(place, MEMBERS), { what: 'record of members', prefix: 'generation' })))

const leaseOf = (place: string, host: string): Promise<LeaseVolume> => once(leases, JSON.stringify([place, host]), () => LeaseVolume.open(place, host))

/** The daemon is gone: the next process here, or after a restart of this machine, need not wait. */
export async function closeLeases(): Promise<void> {
  await Promise.all([...leases.values()].map(async (lease) => (await lease).close()))
}

export async function answerTo({ id, call }: NumberedCall): Promise<WorkerMessage> {
  try {
    return { type: 'answer', id, value: await answer(call) }
  } catch (error) {
    if (error instanceof Failure) return { type: 'failure', id, exitCode: error.exitCode, message: error.message }
    return { type: 'failure', id, exitCode: EXIT.unreachable, message: `the claims in ${call.place} cannot be used: ${(error as Error).message}; check the shared storage` }
  }
}

async function answer(call: ClaimCall): Promise<ClaimAnswers[ClaimCall['method']]> {
  switch (call.method) {
    case 'locate': return locate(call.place)
    case 'reach': await reach(call.place); return null
    case 'volumes': return volumesIn(call.place)
    case 'prove': return await isLease(call.place) ? proveLease(await leaseOf(call.place, call.host)) : proveDirectory(call.place, call.host)
    case 'read': return (await storeOf(call)).read()
    case 'swap': return (await storeOf(call)).compareAndSwap(call.expected, call.next)
    case 'beat': await (await storeOf(call)).beat(call.heartbeat); return null
    case 'readBeat': return (await storeOf(call)).readBeat()
    case 'readMembers': return (await membersOf(call)).read()
    case 'swapMembers': await refuseNobody(call); return (await membersOf(call)).compareAndSwap(call.expected, call.text)
  }
}

/** A lease volume is written to in a slot. */
async function refuseNobody({ place, host }: { readonly place: string; readonly host: string }): Promise<void> {
  if (host === '' && await isLease(place)) throw new Failure(EXIT.usage, `${place} is a lease volume, where each host writes in its own slot; say with --as whose it is here (nothing was changed)`)
}

/** What is no folder must be a lease volume, and says so itself if it is none; a folder may come into being later. */
async function isLease(place: string): Promise<boolean> {
  try {
    const found = await stat(place)
    return found.isFile() || found.isBlockDevice()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if ((code === 'ENOENT' || code === 'ENOTDIR') && !place.startsWith('/dev/')) return false
    throw error
  }
}

/** A device, or the file system of the nearest folder that exists; links followed. */
async function locate(place: string): Promise<string> {
  for (let path = place; ; path = dirname(path)) {
    try {
      const found = await stat(await realpath(path))
      return found.isBlockDevice() ? `device ${found.rdev}` : `file system ${found.dev}`
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if ((code !== 'ENOENT' && code !== 'ENOTDIR') || path === dirname(path)) throw error
    }
  }
}

/** Past this host's cache, which knows the block of a storage that has long been away. */
async function reach(path: string): Promise<void> {
  const memory = new AlignedMemory(REACH_BYTES)
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_DIRECT)
    try { await file.read(memory.bytes, 0, REACH_BYTES, 0) } finally { await file.close() }
  } catch { /* it answers; what is wrong with it is said by whoever opens it */ } finally {
    memory.free()
  }
}

async function volumesIn(place: string): Promise<string[]> {
  if (await isLease(place)) return volumesOn(await leaseOf(place, ''))
  const found: string[] = []
  for (const name of await entriesOf(place)) if ((await entriesOf(join(place, name))).some((entry) => EPOCH_FILE.test(entry))) found.push(name)
  return found
}

async function volumesOn(lease: LeaseVolume): Promise<string[]> {
  const header = await lease.header(), found: string[] = []
  for (let entry = 0; entry < header.volumes; entry++) found.push(...[nameOf(await lease.blocks(header, entry))].filter((name): name is string => name !== null && name !== MEMBERS))
  return found
}

/** None where it is no folder, or cannot be read. */
const entriesOf = (path: string): Promise<string[]> => readdir(path).catch(() => [])
