/** `holdfast claims`: the lease volume. */
import { resolve } from 'node:path'
import { addHost, formatLease, readLease, type LeaseSummary } from '../claim/lease-format.js'
import { formatBytes } from '../config/units.js'
import type { ClaimsFormatArguments } from './commands/claims.js'

const say = (lease: LeaseSummary, json: boolean): void => {
  process.stdout.write(json ? `${JSON.stringify(lease)}\n`
    : `${lease.path}: a lease volume of ${formatBytes(lease.sizeBytes)} for ${lease.volumes} volumes; ${lease.hosts.length} of ${lease.slots} slots: ${lease.hosts.join(', ')}\n`)
}

export async function format(path: string, { hosts, slots, volumes, force, json }: ClaimsFormatArguments): Promise<void> {
  say(await formatLease(resolve(path), { hosts, slots, volumes }, force), json)
}

export async function add(path: string, host: string, json: boolean): Promise<void> { say(await addHost(resolve(path), host), json) }

export async function show(path: string, json: boolean): Promise<void> { say(await readLease(resolve(path)), json) }
