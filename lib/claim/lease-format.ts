/** Making a lease volume, and giving another host a slot in it. */
import { randomUUID } from 'node:crypto'
import { open, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import { LeaseFile } from './lease-file.js'
import { LEASE_UNIT, encodeHeader, leaseBytes, registrationAt, type LeaseHeader } from './lease-layout.js'

export interface LeaseShape {
  readonly hosts: readonly string[]
  readonly slots: number
  readonly volumes: number
}

export interface LeaseSummary extends LeaseShape { readonly path: string; readonly sizeBytes: number }

const HOST = /^[a-z0-9][a-z0-9-]{0,62}$/
const summary = (path: string, { hosts, slots, volumes }: LeaseHeader): LeaseSummary => ({ path, hosts, slots, volumes, sizeBytes: leaseBytes({ slots, volumes }) })

/** A regular file is made as large as needed; a device must be. Throws Failure; nothing is written then. */
export async function formatLease(path: string, shape: LeaseShape, force: boolean): Promise<LeaseSummary> {
  refuseHosts(shape.hosts, shape.slots)
  const status = await stat(path).catch(() => null)
  if (status === null) {
    if (path.startsWith('/dev/')) throw new Failure(EXIT.config, `there is no device ${path}`)
    await (await open(path, 'wx', 0o660)).close()
  }
  const file = await LeaseFile.open(path, status?.isBlockDevice() === true ? 'exclusive' : 'write')
  try {
    if (!force) await refuseUsed(file)
    if (status?.isBlockDevice() !== true) await file.truncate(0).then(() => file.truncate(leaseBytes(shape)))
    const sizeBytes = await file.sizeBytes()
    if (sizeBytes < leaseBytes(shape)) throw new Failure(EXIT.config, `${path} has ${sizeBytes} bytes, and ${shape.slots} slots with ${shape.volumes} volumes take ${leaseBytes(shape)}; take fewer or a larger device (nothing was written)`)
    const header: LeaseHeader = { id: randomUUID(), slots: shape.slots, volumes: shape.volumes, generation: 1, hosts: shape.hosts }
    // The old headers go first and the new ones come last: what is half made is no lease volume. Blocks of another id count for nothing.
    await file.write(0, new Uint8Array(2 * LEASE_UNIT))
    await file.write(registrationAt(0), new Uint8Array(shape.slots * LEASE_UNIT))
    for (const copy of [1, 0]) await file.write(copy * LEASE_UNIT, encodeHeader(header))
    return summary(path, header)
  } finally {
    await file.close()
  }
}

async function refuseUsed(file: LeaseFile): Promise<void> {
  const header = await file.header()
  if (header !== null) throw new Failure(EXIT.unsafe, `${file.path} is a lease volume already, of ${header.hosts.join(', ')}; --force makes it anew, and every claim in it is lost (nothing was changed)`)
  const first = await file.read(0, limits.leaseLookBytes)
  if (!first.every((byte) => byte === 0)) throw new Failure(EXIT.unsafe, `${file.path} is not empty; --force overwrites what is in it (nothing was changed)`)
}

function refuseHosts(hosts: readonly string[], slots: number): void {
  const bad = hosts.find((host) => !HOST.test(host))
  if (bad !== undefined) throw new Failure(EXIT.usage, `"${bad}" is no host name as [host] has it: lower-case letters, digits and "-", at most 63`)
  const twice = hosts.find((host, i) => hosts.indexOf(host) !== i)
  if (twice !== undefined) throw new Failure(EXIT.usage, `host ${twice} has a slot already`)
  if (hosts.length > slots) throw new Failure(EXIT.usage, `${hosts.length} hosts need as many slots, and there are ${slots}`)
}

export async function readLease(path: string): Promise<LeaseSummary> {
  const file = await LeaseFile.open(path, 'read')
  try {
    return summary(path, await headerOf(file))
  } finally {
    await file.close()
  }
}

async function headerOf(file: LeaseFile): Promise<LeaseHeader> {
  const header = await file.header()
  if (header === null) throw new Failure(EXIT.usage, `${file.path} is no lease volume; "holdfast claims format" makes one`)
  return header
}

/**
 * Hosts that have the volume in use read the header before every look at the blocks, and need not be told. Two of these commands at the
 * same time: the one whose header does not stay says so.
 */
export async function addHost(path: string, host: string): Promise<LeaseSummary> {
  const file = await LeaseFile.open(path, 'write')
  try {
    const before = await headerOf(file), header = { ...before, generation: before.generation + 1, hosts: [...before.hosts, host] }
    refuseHosts(header.hosts, header.slots)
    const bytes = encodeHeader(header)
    await file.write((header.generation % 2) * LEASE_UNIT, bytes)
    await sleep(limits.leaseForeignMs / 4)
    const after = await headerOf(file)
    if (!encodeHeader(after).equals(bytes)) throw new Failure(EXIT.unsafe, `the lease volume ${path} was changed by another host at the same time; look at "holdfast claims show ${path}" and try again`)
    return summary(path, after)
  } finally {
    await file.close()
  }
}
