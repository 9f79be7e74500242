/** H63: after a clean stop somebody changed the image. Nothing is dirty, so it is the truth; and it is said, as far as it shows. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { decodeClaim } from '../../lib/claim/claim-codec.js'
import type { Claim } from '../../lib/core/claim.js'
import { holdfast } from '../cli/holdfast.js'
import { until } from '../../fixtures/lab/workspace.js'
import { lab, type Lab } from './lab.js'

const BYTES = 4 * 1024 * 1024, BLOCK = 4096
/** Written last, and between the places of the fingerprint. */
const WRITTEN = 9

function newestClaim({ image }: Lab): Claim {
  const folder = join(image, '../.holdfast/db01'), name = readdirSync(folder).filter((each) => each.startsWith('epoch-')).sort().at(-1)!
  return decodeClaim(readFileSync(join(folder, name), 'utf8'), name)
}

async function use(place: Lab, host: string, block: number, value: number): Promise<void> {
  const client = await VhostClient.connect(place.cluster.socket(host))
  client.buffer.fill(value, 0, BLOCK)
  if (await client.submit({ kind: 'write', lbaSectors: block * 8, lengthSectors: 8, bufferOffset: 0 }) !== 0) throw new Error('a write failed')
  await client.close()
}

/** A volume that was written to, drained and stopped cleanly. */
async function stopped(t: Test, hosts: readonly string[] = ['a']): Promise<Lab> {
  const place = await lab(t, 'h63', BYTES, { hosts, copies: 0 })
  await place.cluster.host('a').start()
  await use(place, 'a', 700, 1)
  await use(place, 'a', WRITTEN, 2)
  t.equal(await place.cluster.host('a').stop(), 0)
  return place
}

/** The host serves the volume again: what it says of its image, and block `block` as the guest reads it. */
async function served(place: Lab, block: number, host = 'a'): Promise<{ changed: string | null; warned: boolean; value: number }> {
  const lab = place.cluster.host(host), log = place.work.file(`${host}.log`), before = existsSync(log) ? readFileSync(log).length : 0
  await lab.start()
  const client = await VhostClient.connect(place.cluster.socket(host))
  if (await client.submit({ kind: 'read', lbaSectors: block * 8, lengthSectors: 8, bufferOffset: 0 }) !== 0) throw new Error('a read failed')
  const value = client.buffer[0]!
  const { backingChanged } = await lab.volume('db01')
  await client.close()
  return { changed: backingChanged, warned: /changed while nobody served it/.test(readFileSync(log, 'utf8').slice(before)), value }
}

/** To the nanosecond as old as before. */
function edit(image: string, offset: number, bytes: Buffer): void {
  const all = readFileSync(image)
  execFileSync('touch', ['-r', image, `${image}.time`])
  bytes.copy(all, offset)
  writeFileSync(image, all)
  execFileSync('touch', ['-r', `${image}.time`, image])
}

t.test('a clean stop leaves a fingerprint, and an image that nobody touched is served without a word', async (t) => {
  const place = await stopped(t, ['a', 'b']), left = newestClaim(place)
  t.match(left, { released: true, fingerprint: { sizeBytes: BYTES, blocks: /^[0-9a-f]{528}$/ } })
  t.same(left.samples?.map(({ lba, sectors }) => [lba, sectors]), [[WRITTEN * 8, 8], [700 * 8, 8]], 'and says what the last cut wrote')
  t.same(await served(place, WRITTEN, 'b'), { changed: null, warned: false, value: 2 }, 'on another host')
  t.equal(newestClaim(place).fingerprint, undefined, 'which holds for a released claim only')
  await use(place, 'b', WRITTEN, 3)
  t.equal(await place.cluster.host('b').stop(), 0)
  t.same(await served(place, WRITTEN), { changed: null, warned: false, value: 3 }, 'and back, after another host has written to it')
})

t.test('a block in a sampled place, with the old time put back', async (t) => {
  const place = await stopped(t)
  edit(place.image, 0, Buffer.alloc(BLOCK, 0xab))
  const now = await served(place, 0)
  t.match(now, { changed: '1 of 66 sampled blocks are others', warned: true, value: 0xab }, 'it is said, and the guest reads what is there')
  t.match((await holdfast('status', '--control', place.cluster.host('a').controlPath)).stdout, /CHANGED +1 of 66 sampled blocks are others; while nobody served it/)
  t.equal(await place.cluster.host('a').stop(), 0)
  t.same(await served(place, 0), { changed: null, warned: false, value: 0xab }, 'and it is the truth from then on')
})

t.test('an older copy with size and time of the newer one: the places of the last cut give it away', async (t) => {
  const place = await stopped(t)
  edit(place.image, WRITTEN * BLOCK, Buffer.alloc(BLOCK))
  t.same(await served(place, WRITTEN), { changed: `1 of 2 places that the last cut wrote have other contents (sector ${WRITTEN * 8})`, warned: true, value: 0 })
})

t.test('another time alone is said in milder words', async (t) => {
  const place = await stopped(t)
  utimesSync(place.image, 1, 1)
  t.match(await served(place, WRITTEN), {
    changed: /^it was last modified at 1970-01-01T00:00:01.000Z and not at 2.*, although its size and 66 sampled blocks are the same$/, warned: true, value: 2,
  })
})

t.test('another size is refused with both ways out', async (t) => {
  const place = await stopped(t)
  truncateSync(place.image, 2 * BYTES)
  const refused = await holdfast('serve', '--config', place.cluster.host('a').config)
  t.equal(refused.code, 65)
  t.match(refused.stderr, new RegExp(`has ${2 * BYTES} bytes but its claim in .* says ${BYTES}; .*Either put back the image of ${BYTES} bytes; or move .* away .*nothing of the volume is dirty`))
})

t.test('killed with nothing dirty: another image is no ground to refuse either', async (t) => {
  const place = await lab(t, 'h63', BYTES, { hosts: ['a'], copies: 0 })
  const { cluster, held } = place, a = cluster.host('a')
  await a.start()
  await use(place, 'a', WRITTEN, 2)
  await a.control.flush('db01', null, () => undefined)
  // The claim that names the samples is one of this epoch or a later one: both are read back from the region.
  await a.kill9()
  edit(held, WRITTEN * BLOCK, Buffer.alloc(BLOCK, 7))
  t.match(await served(place, WRITTEN), { changed: /^1 of 1 places/, warned: true, value: 7 })
  await until('service', 10_000, async () => (await a.volume('db01')).phase === 'serving')
})
