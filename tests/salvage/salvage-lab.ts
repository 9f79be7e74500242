/** Hosts that were killed with everything in their regions, and what the guest must find afterwards. */
import { readFileSync, writeFileSync } from 'node:fs'
import type { Test } from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { HEADER_BYTES, parseHeader } from '../../lib/core/record.js'
import { crc } from '../../lib/io/crc.js'
import { salvage, type SalvageOptions, type SalvageResult } from '../../lib/salvage/salvage.js'
import type { ClusterOptions } from '../../fixtures/lab/cluster.js'
import { lab, type Lab } from '../volume/lab.js'

export const IMAGE_BYTES = 4 * 1024 * 1024
/** Longer than the lab's hosts renew in. */
const WATCH_MS = 1000

export interface Killed extends Lab { readonly disk: Buffer; readonly regions: readonly string[]; readonly volume: string }

/** What the image held before: its second half is zeros. */
export const before = (): Buffer => Buffer.alloc(IMAGE_BYTES).fill(0x11, 0, IMAGE_BYTES / 2)

/** Writes through a's socket, and to `disk` what the guest must find afterwards. */
export class Writer {
  readonly disk: Buffer
  readonly #client: VhostClient
  constructor(client: VhostClient, disk: Buffer) {
    this.#client = client
    this.disk = disk
  }

  async write(lba: number, sectors: number, fill: number): Promise<void> {
    this.#client.buffer.fill(fill, 0, sectors * 512)
    this.disk.fill(fill, lba * 512, (lba + sectors) * 512)
    if (await this.#client.submit({ kind: 'write', lbaSectors: lba, lengthSectors: sectors, bufferOffset: 0 }) !== 0) throw new Error('a write failed')
  }

  async discard(lba: number, sectors: number): Promise<void> {
    this.disk.fill(0, lba * 512, (lba + sectors) * 512)
    if (await this.#client.submit({ kind: 'discard', lbaSectors: lba, lengthSectors: sectors, bufferOffset: 0 }) !== 0) throw new Error('a discard failed')
  }
}

/** Two hosts, one of which mirrors the other's log; both are killed with everything still in their regions. */
export async function killed(t: Test, options: Omit<ClusterOptions, 'image'> = {}): Promise<Killed> {
  const place = await lab(t, 'salvage', IMAGE_BYTES, { volume: 'durability = "write"\ndestage_delay = "600s"', ...options })
  const { cluster, work } = place
  writeFileSync(place.image, before())
  await cluster.start()
  const writer = new Writer(await VhostClient.connect(cluster.socket('a')), before())
  for (let i = 1; i <= 20; i++) await writer.write(i * 8, 8, i)
  await writer.write(41, 3, 0x77)
  await writer.discard(80, 8)
  await writer.write(4000, 64, 0x55)
  const volume = (await cluster.host('a').volume('db01')).id!
  for (const host of cluster.hosts.values()) await host.kill9()
  return { ...place, disk: writer.disk, regions: [...cluster.hosts.keys()].map((host) => work.file(`${host}.region`)), volume }
}

/** Where the records of a region are. */
export function recordsIn(region: string): { won: number; offset: number }[] {
  const bytes = readFileSync(region), found: { won: number; offset: number }[] = []
  for (let at = 0; at + HEADER_BYTES <= bytes.length; at += HEADER_BYTES) {
    const header = parseHeader(bytes.subarray(at, at + HEADER_BYTES), crc)
    if (!('problem' in header)) found.push({ won: header.won, offset: at })
  }
  return found
}

export function damage(region: string, won: number, where = HEADER_BYTES + 100): void {
  const bytes = readFileSync(region), { offset } = recordsIn(region).find((record) => record.won === won)!
  bytes[offset + where]! ^= 1
  writeFileSync(region, bytes)
}

let outs = 0
/** In this process, for time. */
export async function salvaged({ work, image }: Lab, regions: readonly string[], more: Partial<SalvageOptions> = {}): Promise<{ result: SalvageResult; out: string }> {
  const out = work.file(`new-${++outs}.raw`)
  const result = await salvage({ regions, image, out, volume: null, claims: null, dryRun: false, watchMs: WATCH_MS, progress: () => () => undefined, ...more })
  return { result, out }
}
