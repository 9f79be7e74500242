/** H64: the image was restored or changed under dirty data. It is refused, with both ways out; and never without cause. */
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { decodeClaim } from '../../lib/claim/claim-codec.js'
import type { Claim } from '../../lib/core/claim.js'
import { slotPaths } from '../../lib/journal/file-slots.js'
import { holdfast } from '../cli/holdfast.js'
import { sleep, until } from '../../fixtures/lab/workspace.js'
import { DiskModel, MODEL_BUFFER_BYTES } from './disk-model.js'
import { lab, type Lab } from './lab.js'

const SECTORS = 2048
const buffer = { bufferBytes: MODEL_BUFFER_BYTES }
const CUT = { lba: 1024, sectors: 256 }, DIRTY = { lba: 0, sectors: 256 }

interface Killed extends Lab { readonly older: Buffer; readonly left: Buffer; readonly disk: Buffer }

async function write(client: VhostClient, disk: Buffer, { lba, sectors }: typeof CUT, value: number): Promise<void> {
  for (let at = lba; at < lba + sectors; at += 16) {
    client.buffer.fill(value + (at % 64), 0, 16 * 512)
    disk.fill(value + (at % 64), at * 512, (at + 16) * 512)
    if (await client.submit({ kind: 'write', lbaSectors: at, lengthSectors: 16, bufferOffset: 0 }) !== 0) throw new Error('a write failed')
  }
}

/** One cut is on the image, later writes are only in logs, and every host is dead. `left`: the image as it should be. */
async function killed(t: Test, hosts: readonly string[], order = 'journal', dirty = DIRTY): Promise<Killed> {
  const place = await lab(t, 'h64', SECTORS * 512, { hosts, copies: hosts.length - 1, volume: `destage_delay = "60s"\norder = "${order}"` })
  const { cluster, held } = place, disk = Buffer.alloc(SECTORS * 512)
  await cluster.start()
  const client = await VhostClient.connect(cluster.socket('a'), buffer)
  await write(client, disk, { lba: 512, sectors: 64 }, 0x11)
  await cluster.host('a').control.flush('db01', null, () => undefined)
  const older = readFileSync(held)
  await write(client, disk, CUT, 0x20)
  await cluster.host('a').control.flush('db01', null, () => undefined)
  await write(client, disk, dirty, 0x70)
  await Promise.all(hosts.map((host) => cluster.host(host).kill9()))
  await client.close()
  return { ...place, older, left: readFileSync(held), disk }
}

const refusal = (host: string, held: string): RegExp => new RegExp(`^${held} is not the image that the dirty data of volume db01 belongs to: \\d of \\d places that the last cut wrote have other contents .*` +
  `Nothing was written to it, and the guest waits. Either put back the image as it was left and start the daemon again.*logs of \\{${host}\\}.*"holdfast volume discard-dirty db01 --accept-data-loss"$`)

async function refused(t: Test, place: Killed, host: string, holders: string): Promise<void> {
  await until('the refusal', 15_000, async () => (await place.cluster.host(host).volume('db01')).phase === 'failed')
  t.match(await place.cluster.host(host).volume('db01'), { phase: 'failed', reason: refusal(holders, place.held), guardedAs: place.held })
  const client = await VhostClient.connect(place.cluster.socket(host), buffer)
  const answered = await Promise.race([client.submit({ kind: 'read', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }).catch(() => -1), sleep(400)])
  t.equal(answered, undefined, 'the guest gets no error: it waits')
  await client.close()
}

async function servedWhole(t: Test, { cluster, disk, held }: Killed, host: string): Promise<void> {
  const client = await VhostClient.connect(cluster.socket(host), buffer)
  t.ok((await new DiskModel(SECTORS, 1).readAll(client)).equals(disk), 'the guest has everything that was acknowledged')
  await cluster.host(host).control.flush('db01', null, () => undefined)
  t.ok(readFileSync(held).equals(disk), 'and the image gets it')
  await client.close()
}

const newestClaim = ({ image }: Lab): Claim => {
  const folder = join(image, '../.holdfast/db01'), name = readdirSync(folder).filter((each) => each.startsWith('epoch-')).sort().at(-1)!
  return decodeClaim(readFileSync(join(folder, name), 'utf8'), name)
}

for (const order of ['journal', 'flush', 'cut']) t.test(`an untouched image is served without a word, by ${order}`, async (t) => {
  const place = await killed(t, ['a'], order)
  await place.cluster.host('a').start()
  await servedWhole(t, place, 'a')
  t.notMatch(place.cluster.host('a').child!.output, /other contents|cannot be told/)
})

t.test('an older copy is refused, and with the right image nothing is lost', async (t) => {
  const place = await killed(t, ['a']), a = place.cluster.host('a')
  writeFileSync(place.held, place.older)
  await a.start()
  await refused(t, place, 'a', 'a')
  t.ok(readFileSync(place.held).equals(place.older), 'the image was not written to')
  t.not(await a.stop(), 0, 'and a stop is not a clean one')
  await a.start()
  await refused(t, place, 'a', 'a')
  await a.stop()
  writeFileSync(place.held, place.left)
  await a.start()
  await servedWhole(t, place, 'a')
})

t.test('one changed block among those of the last cut is enough', async (t) => {
  const place = await killed(t, ['a']), other = Buffer.from(place.left), { lba } = newestClaim(place).samples?.[0] ?? CUT
  other[lba * 512]! ^= 1
  writeFileSync(place.held, other)
  await place.cluster.host('a').start()
  await refused(t, place, 'a', 'a')
})

t.test('places that dirty data covers prove nothing: a cut may have begun to write there', async (t) => {
  const place = await killed(t, ['a'], 'journal', CUT)
  const half = Buffer.from(place.left)
  place.disk.copy(half, CUT.lba * 512, CUT.lba * 512, (CUT.lba + 100) * 512)
  writeFileSync(place.held, half)
  await place.cluster.host('a').start()
  await servedWhole(t, place, 'a')
})

t.test('the replica refuses as well, and has everything when the right image is back', async (t) => {
  const place = await killed(t, ['a', 'b']), b = place.cluster.host('b')
  writeFileSync(place.held, place.older)
  await b.start()
  // A guest's start is what makes b take the volume over.
  const guest = await VhostClient.connect(place.cluster.socket('b'), buffer)
  await refused(t, place, 'b', 'b')
  await guest.close()
  await b.stop()
  writeFileSync(place.held, place.left)
  await b.start()
  await servedWhole(t, place, 'b')
})

t.test('the dirty data is given up by command, for ever, and only then', async (t) => {
  const place = await killed(t, ['a']), a = place.cluster.host('a'), control = ['--control', a.controlPath]
  await a.start()
  const early = await holdfast('volume', 'discard-dirty', 'db01', '--accept-data-loss', ...control)
  t.match(early, { code: 75, stderr: /volume db01 is not refused because of its image/ }, 'not while all is well')
  await a.kill9()
  writeFileSync(place.held, place.older)
  await a.start()
  await refused(t, place, 'a', 'a')
  t.match(await holdfast('volume', 'discard-dirty', 'db01', ...control), { code: 64, stderr: /lost for ever by this; say --accept-data-loss/ })
  t.match(await holdfast('volume', 'discard-dirty', 'db01', '--accept-data-loss', ...control), { code: 0, stdout: /^db01: 128 KiB of dirty data are given up at epoch \d/ })
  t.notOk(slotPaths(place.image).some((path) => existsSync(path)), 'no journal is left that belongs to another image')
  const client = await VhostClient.connect(place.cluster.socket('a'), buffer), disk = Buffer.from(place.older)
  t.ok((await new DiskModel(SECTORS, 1).readAll(client)).equals(disk), 'the restored image is the disk')
  t.match(newestClaim(place), { inherited: [], acceptedLoss: { reason: /^a: .* is not the image that the dirty data/ } })
  await write(client, disk, { lba: 32, sectors: 32 }, 0x33)
  await a.control.flush('db01', null, () => undefined)
  t.ok(readFileSync(place.held).equals(disk), 'and goes on from there')
  await client.close()
  t.equal(await a.stop(), 0)
  t.match(newestClaim(place), { released: true, acceptedLoss: { reason: /is not the image/ } }, 'the loss stays in the claim')
  t.equal(statSync(place.image).size, SECTORS * 512)
})
