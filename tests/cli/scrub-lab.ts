/** A cluster with dirty data, the records in its regions, and bits that a disk has lost. */
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import type { Test } from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { HEADER_BYTES, RECORD_MAGIC, parseHeader, type RecordHeader } from '../../lib/core/record.js'
import { crc } from '../../lib/io/crc.js'
import type { ScrubResult } from '../../lib/ports/control.js'
import { PATIENT, lab, type Lab } from '../volume/lab.js'
import { holdfast, type Outcome } from './holdfast.js'

export interface FoundRecord { readonly won: number; readonly offset: number; readonly header: RecordHeader }

export function recordsIn(region: string): FoundRecord[] {
  const bytes = readFileSync(region), found: FoundRecord[] = []
  for (let at = 0; at + HEADER_BYTES <= bytes.length; at += HEADER_BYTES) {
    if (bytes.readUInt32LE(at) !== RECORD_MAGIC) continue
    const header = parseHeader(bytes.subarray(at, at + HEADER_BYTES), crc)
    if ('won' in header) found.push({ won: header.won, offset: at, header })
  }
  return found
}

export function overwrite(region: string, offset: number, bytes: Uint8Array): void {
  const disk = openSync(region, 'r+')
  writeSync(disk, bytes, 0, bytes.length, offset)
  fsyncSync(disk)
  closeSync(disk)
}

/** In the data of a record, or in its header. Returns where the record is. */
export function rot(region: string, won: number, part: 'data' | 'header'): number {
  const { offset } = recordsIn(region).find((record) => record.won === won)!
  overwrite(region, offset + (part === 'data' ? HEADER_BYTES + 1000 : 60), Buffer.from([0xff, 0xfe]))
  return offset
}

export const MIB = 2 ** 20
export const KEPT = 'destage_delay = "600s"'

/** Writes so many blocks, each a record, and flushes. */
export async function write(client: VhostClient, count: number, sectors = 8, first = 0): Promise<void> {
  for (let i = first; i < first + count; i++) {
    client.buffer.fill(i + 1, 0, sectors * 512)
    if (await client.submit({ kind: 'write', lbaSectors: i * sectors, lengthSectors: sectors, bufferOffset: 0 }) !== 0) throw new Error('a write failed')
  }
  if (await client.submit({ kind: 'flush', lbaSectors: 0, lengthSectors: 0, bufferOffset: 0 }) !== 0) throw new Error('a flush failed')
}

export async function served(t: Test, name: string, options: Partial<Parameters<typeof lab>[3]> = {}): Promise<Lab & { client: VhostClient; regions: Readonly<Record<'a' | 'b', string>> }> {
  const place = await lab(t, name, 32 * MIB, { timing: PATIENT, volume: KEPT, ...options })
  await place.cluster.start()
  const client = await VhostClient.connect(place.cluster.socket('a'))
  t.teardown(() => client.abort())
  return { ...place, client, regions: { a: place.work.file('a.region'), b: place.work.file('b.region') } }
}

export async function scrub({ cluster }: Lab, host: string, ...more: string[]): Promise<{ outcome: Outcome; result: ScrubResult }> {
  const outcome = await holdfast('scrub', '--config', cluster.host(host).config, '--json', ...more)
  return { outcome, result: JSON.parse(outcome.stdout) as ScrubResult }
}
