/** `holdfast volume verify`: copies that are the same, damaged, another record, too short, gone. */
import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { EXIT } from '../../lib/core/failure.js'
import { HEADER_BYTES } from '../../lib/core/record.js'
import { crc } from '../../lib/io/crc.js'
import type { VerifyResult } from '../../lib/ports/control.js'
import { PATIENT, lab, type Lab } from '../volume/lab.js'
import { holdfast, type Outcome } from './holdfast.js'
import { overwrite, recordsIn, rot } from './scrub-lab.js'

async function served(t: Test, name: string, records: number, options: Partial<Parameters<typeof lab>[3]> = {}): Promise<Lab> {
  const place = await lab(t, name, 4 * 2 ** 20, { timing: PATIENT, volume: 'destage_delay = "600s"', ...options })
  await place.cluster.start()
  const client = await VhostClient.connect(place.cluster.socket('a'))
  t.teardown(() => client.abort())
  for (let i = 1; i <= records; i++) {
    client.buffer.fill(i, 0, 4096)
    if (await client.submit({ kind: 'write', lbaSectors: i * 8, lengthSectors: 8, bufferOffset: 0 }) !== 0) throw new Error('a write failed')
  }
  return place
}

async function verify({ cluster }: Lab, ...more: string[]): Promise<{ outcome: Outcome; result: VerifyResult }> {
  const outcome = await holdfast('volume', 'verify', 'db01', '--config', cluster.host('a').config, '--json', ...more)
  return { outcome, result: JSON.parse(outcome.stdout) as VerifyResult }
}

t.test('the same on three hosts', { timeout: 60_000 }, async (t) => {
  const place = await served(t, 'verify', 12, { hosts: ['a', 'b', 'c'], copies: 2 }), { config } = place.cluster.host('a')
  const { outcome, result } = await verify(place)
  t.equal(outcome.code, EXIT.done, outcome.stderr)
  t.match(result, { volume: 'db01', records: 12, bytes: 12 * 8192, same: ['a', 'b', 'c'], differences: { length: 0 }, problems: { length: 0 } })
  const shown = await holdfast('volume', 'verify', 'db01', '--config', config, '-p')
  t.match(shown, { code: EXIT.done, stdout: 'db01: 12 records, 96 KiB, the same on a, b, c\n', stderr: /comparing db01 \(100\/100%\)\n$/ })
  t.match(await holdfast('volume', 'verify', 'db01', '--config', place.cluster.host('b').config), { code: EXIT.unsafe, stderr: /^holdfast: volume db01 is not served by this host/ })
  await place.cluster.host('a').control.flush('db01', null, () => undefined)
  t.match(await holdfast('volume', 'verify', 'db01', '--config', config), { code: EXIT.done, stdout: 'db01: nothing is dirty, so there is nothing to compare\n' })
})

t.test('the first difference of each host: what is damaged, and what is whole but another record', { timeout: 60_000 }, async (t) => {
  const place = await served(t, 'verify-diff', 12, { hosts: ['a', 'b', 'c'], copies: 2 }), { work } = place
  const at5 = rot(work.file('b.region'), 5, 'data')
  rot(work.file('b.region'), 9, 'header')
  forge(work.file('c.region'), 7)
  const { outcome, result } = await verify(place)
  t.equal(outcome.code, EXIT.damaged)
  t.match(result.same, ['a'])
  t.same(result.differences.map(({ host, record }) => [host, record]), [['b', 5], ['c', 7]])
  t.match(result.differences, [{ offsetBytes: at5, what: 'its data is damaged' }, { what: 'its record is whole, but another one than on a' }])
  const shown = await holdfast('volume', 'verify', 'db01', '--config', place.cluster.host('a').config)
  t.equal(shown.stdout, `db01: 12 records, 96 KiB, whole on a\n  DIFFERENT on b: epoch 1, record 5 at byte ${at5} of the region: its data is damaged\n` +
    '  DIFFERENT on c: epoch 1, record 7: its record is whole, but another one than on a\n')
  t.match(shown.stderr, /^holdfast: the copies of db01 are not the same: if b, c only holds a copy, "holdfast volume flush db01" here/)
  t.match(await place.cluster.host('a').volume('db01'), { policy: { reason: null } }, 'the guest goes on')
})

/** Changes a byte of a record's data so that every checksum in the record itself holds. */
function forge(region: string, won: number): void {
  const { offset, header } = recordsIn(region).find((record) => record.won === won)!
  const bytes = Buffer.from(readFileSync(region).subarray(offset, offset + header.lengthBytes))
  bytes[HEADER_BYTES + 9]! ^= 1
  // First entry: its checksum is 16 bytes into it, its length in sectors 8.
  bytes.writeUInt32LE(crc(bytes.subarray(HEADER_BYTES, HEADER_BYTES + bytes.readUInt32LE(128 + 8) * 512), 0), 128 + 16)
  bytes.writeUInt32LE(0, 8)
  bytes.writeUInt32LE(crc(bytes.subarray(0, HEADER_BYTES), 0), 8)
  overwrite(region, offset, bytes)
}

t.test('damage on the host that serves: told from that of a copy, and with its consequence', { timeout: 60_000 }, async (t) => {
  const place = await served(t, 'verify-own', 12)
  const at3 = rot(place.work.file('a.region'), 3, 'data')
  const { outcome, result } = await verify(place)
  t.equal(outcome.code, EXIT.damaged)
  t.match(result, { same: ['b'], differences: [{ host: 'a', record: 3, offsetBytes: at3 }] })
  t.match(place.cluster.host('a').child!.output, /record 3 of volume db01, epoch 1, .* was good and is not any more .*; what this host has of epoch 1 is given up/)
})

t.test('a host that cannot be asked', { timeout: 60_000 }, async (t) => {
  const place = await served(t, 'verify-gone', 12)
  await place.cluster.host('b').kill9()
  const { outcome, result } = await verify(place)
  t.equal(outcome.code, EXIT.unreachable)
  t.match(result, { records: 12, same: ['a'], differences: { length: 0 }, problems: [{ host: 'b', what: /b is not connected|the connection to b broke/ }] })
  t.match(outcome.stderr, /^holdfast: the copy of db01 on b was not compared: /)
})

t.test('after a takeover: what was inherited is compared where it is', { timeout: 60_000 }, async (t) => {
  const place = await served(t, 'verify-inherited', 12, { hosts: ['a', 'b', 'c'], copies: 2 }), b = place.cluster.host('b')
  await place.cluster.host('a').kill9()
  const client = await VhostClient.connect(place.cluster.socket('b'))
  t.teardown(() => client.abort())
  t.equal(await client.submit({ kind: 'read', lbaSectors: 8, lengthSectors: 8, bufferOffset: 0 }), 0)
  const outcome = await holdfast('volume', 'verify', 'db01', '--config', b.config, '--json'), result = JSON.parse(outcome.stdout) as VerifyResult
  t.match({ ...result, code: outcome.code }, { code: EXIT.done, records: 12, same: ['b', 'c'], differences: { length: 0 } })
})
