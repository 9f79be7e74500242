/** `holdfast volume takeover` between real hosts: what it takes, what it leaves alone, and what may be lost by it. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { decodeClaim } from '../../lib/claim/claim-codec.js'
import type { Claim } from '../../lib/core/claim.js'
import { EXIT } from '../../lib/core/failure.js'
import type { LabHost } from '../../fixtures/lab/daemon.js'
import { until } from '../../fixtures/lab/workspace.js'
import { holdfast, type Outcome } from '../cli/holdfast.js'
import { DiskModel, MODEL_BUFFER_BYTES } from './disk-model.js'
import { lab, type Lab } from './lab.js'

const SECTORS = 2048
const buffer = { bufferBytes: MODEL_BUFFER_BYTES }
/** Nobody is ever taken for dead by waiting. */
const UNDYING = 'renew = "200ms"\nfail_after = "600ms"\ndead_after = "10m"\nquarantine = "800ms"\npeer_deadline = "4s"'
const THREE = { hosts: ['a', 'b', 'c'], replicas: { a: ['b'], b: ['a', 'c'], c: ['a', 'b'] }, volume: 'destage_delay = "60s"' } as const

const takeover = (host: LabHost, ...more: string[]): Promise<Outcome> => holdfast('volume', 'takeover', 'db01', '--control', host.controlPath, ...more)

async function write(client: VhostClient, disk: Buffer, lba: number, sectors: number, value: number): Promise<void> {
  for (let at = lba; at < lba + sectors; at += 16) {
    client.buffer.fill(value, 0, 16 * 512)
    disk.fill(value, at * 512, (at + 16) * 512)
    if (await client.submit({ kind: 'write', lbaSectors: at, lengthSectors: 16, bufferOffset: 0 }) !== 0) throw new Error('a write failed')
  }
}

async function served(t: Test, { cluster }: Lab, host: string, disk: Buffer, what: string): Promise<VhostClient> {
  const client = await VhostClient.connect(cluster.socket(host), buffer)
  t.ok((await new DiskModel(SECTORS, 1).readAll(client)).equals(disk), what)
  return client
}

const newestClaim = ({ image }: Lab): Claim => {
  const folder = join(image, '../.holdfast/db01'), name = readdirSync(folder).filter((each) => each.startsWith('epoch-')).sort().at(-1)!
  return decodeClaim(readFileSync(join(folder, name), 'utf8'), name)
}

async function connected({ cluster }: Lab, hosts: readonly string[]): Promise<void> {
  await until('all hosts to be connected', 10_000, async () => {
    const all = await Promise.all(hosts.map((host) => cluster.host(host).status()))
    return all.every(({ peers }) => peers.every((peer) => !hosts.includes(peer.host) || (peer.dialed && peer.accepted)))
  })
}

t.test('a guest that runs keeps its disk; one that stopped hands it over; a dead owner is waited for', async (t) => {
  const place = await lab(t, 'take', SECTORS * 512, { volume: 'destage_delay = "60s"' }), { cluster } = place
  await cluster.start()
  await connected(place, ['a', 'b'])
  const a = cluster.host('a'), b = cluster.host('b'), disk = Buffer.alloc(SECTORS * 512)
  const client = await VhostClient.connect(cluster.socket('a'), buffer)
  await write(client, disk, 0, 64, 0x11)
  const epoch = newestClaim(place).epoch
  t.match(await takeover(b), { code: EXIT.unsafe, stdout: '', stderr: /^holdfast: volume db01: held by a: its guest is running there; stop the guest on a, or migrate it: a running guest is not taken away \(nothing was changed\)\n$/ })
  t.match(await takeover(b, '--force', '--fenced', 'a'), { code: EXIT.unsafe, stderr: /host a answers, so it is not powered off/ })
  t.match(await takeover(b, '--accept-data-loss', 'why'), { code: EXIT.unsafe, stderr: /a, b of \{a, b\} can be asked and has everything, so nothing need be lost/ })
  await write(client, disk, 64, 64, 0x12)
  t.equal(newestClaim(place).epoch, epoch, 'the guest did not notice')
  await client.close()
  t.equal(newestClaim(place).epoch, epoch, 'and a command that has ended takes nothing later')
  t.match(await takeover(b), { code: EXIT.done, stdout: new RegExp(`^db01 is owned by this host now, epoch ${epoch + 1}, after a \\(\\d+\\.\\d s\\)\n$`), stderr: '' })
  t.match(await takeover(b), { code: EXIT.unsafe, stderr: /is served by this host already/ })
  await (await served(t, place, 'b', disk, 'everything is there')).close()
  await b.kill9()
  const json = await takeover(a, '--json')
  t.match(JSON.parse(json.stdout), { volume: 'db01', from: 'b', quarantine: true, lost: null })
  await (await served(t, place, 'a', disk, 'and after the death of the owner')).close()
})

t.test('--force: an owner that is named as powered off is not waited for, unless it is alive', async (t) => {
  const place = await lab(t, 'force', SECTORS * 512, { ...THREE, timing: UNDYING }), { cluster } = place, disk = Buffer.alloc(SECTORS * 512)
  const a = cluster.host('a'), b = cluster.host('b'), c = cluster.host('c')
  // c and a do not reach each other, and see each other's heartbeats.
  for (const [host, peer] of [[a, 'c'], [c, 'a']] as const) {
    writeFileSync(host.config, readFileSync(host.config, 'utf8').replace(new RegExp(`(name = "${peer}"\naddress = ")127.0.0.1:\\d+`), '$1127.0.0.1:1'))
  }
  await Promise.all([a, b, c].map((host) => host.start()))
  await connected(place, ['a', 'b'])
  await connected(place, ['b', 'c'])
  const client = await VhostClient.connect(cluster.socket('a'), buffer)
  await write(client, disk, 0, 64, 0x21)
  const epoch = newestClaim(place).epoch
  t.match(await takeover(c, '--force'), { code: EXIT.usage, stderr: 'holdfast: --force and --fenced HOST belong together: name the host that you have powered off (nothing was changed)\n' })
  t.match(await takeover(c, '--fenced', 'a'), { code: EXIT.usage })
  t.match(await takeover(c, '--force', '--fenced', 'b'), { code: EXIT.unsafe, stderr: /is owned by a and not by b; it is a that must be powered off/ })
  t.match(await takeover(c), { code: EXIT.unsafe, stderr: /a does not answer, but its heartbeat goes on, so it is alive; look at the network/ })
  t.match(await takeover(c, '--force', '--fenced', 'a'), { code: EXIT.unsafe, stderr: /heartbeat goes on, so it is alive; it is not a that was powered off/ })
  await write(client, disk, 64, 64, 0x22)
  t.equal(newestClaim(place).epoch, epoch, 'nothing happened to a guest')

  await a.kill9()
  t.match(await takeover(c, '--force', '--fenced', 'a'), { code: EXIT.done, stdout: new RegExp(`, epoch ${epoch + 1}, after a .*in quarantine: late writes may still reach the storage`) })
  t.match(newestClaim(place), { owner: { host: 'c' }, quarantine: true, inherited: [{ holders: [{ host: 'b' }] }] })
  t.match(c.child!.output, /an operator says that a, the owner of volume db01 at epoch \d+, is powered off/)
  await (await served(t, place, 'c', disk, 'everything acknowledged is there')).close()
  t.ok(b.child!.exit === null)
})

t.test('--accept-data-loss: only where nothing else is left, on record for ever, and what comes back is too late', async (t) => {
  const place = await lab(t, 'accept', SECTORS * 512, THREE), { cluster, held } = place, disk = Buffer.alloc(SECTORS * 512)
  await cluster.start()
  await connected(place, ['a', 'b', 'c'])
  const a = cluster.host('a'), b = cluster.host('b'), c = cluster.host('c')
  const client = await VhostClient.connect(cluster.socket('a'), buffer)
  await write(client, disk, 0, 64, 0x31)
  await a.control.flush('db01', null, () => undefined)
  const kept = Buffer.from(disk)
  await write(client, disk, 32, 64, 0x32)
  const before = newestClaim(place)
  await a.kill9()
  t.match(await takeover(c, '--accept-data-loss', 'why'), { code: EXIT.unsafe, stderr: /: b of \{a, b\} can be asked and has everything, so nothing need be lost; take it over without --accept-data-loss \(nothing was changed\)/ })
  await b.kill9()
  t.match(await takeover(c), { code: EXIT.unsafe, stderr: /no member of the set \{a, b\} can be reached.*; start one of these hosts; if all of them are gone for ever, --accept-data-loss REASON/ })
  t.match(await takeover(c, '--accept-data-loss', ' '), { code: EXIT.usage, stderr: /needs a reason/ })
  t.same(newestClaim(place), before, 'nothing was changed so far')

  const done = await takeover(c, '--accept-data-loss', 'ticket 4711')
  t.match(done, { code: EXIT.done, stdout: new RegExp(`\nLOST: acknowledged writes after \\d+, up to epoch ${before.epoch}, which only a, b had, where they were not on the backing; the claim says so for ever\n$`) })
  const reason = /^c took over from a without \{a, b\}, which could not be reached: the writes of epoch \d+, from \d+ on are lost where they were not on the backing; ticket 4711$/
  t.match(newestClaim(place), { epoch: before.epoch + 1, owner: { host: 'c' }, inherited: [], quarantine: true, acceptedLoss: { atEpoch: before.epoch, reason } })
  t.match(c.child!.output, /an operator accepted a loss: c took over from a without/)
  const onC = await served(t, place, 'c', kept, 'the image as it is counts as the disk')
  await write(onC, kept, 48, 32, 0x33)

  await Promise.all([a.start(), b.start()])
  await connected(place, ['a', 'b', 'c'])
  for (const host of [a, b]) {
    const { replicas, volumes } = await host.status()
    t.same(replicas.filter(({ epoch }) => epoch <= before.epoch), [], `${host.name} has deleted what it had`)
    t.match(volumes, [{ owner: 'c', dirtyBytes: 0 }])
  }
  await c.control.flush('db01', null, () => undefined)
  t.ok(readFileSync(held).equals(kept), 'after the quarantine the image has what c acknowledged, and nothing of what came back')
  await onC.close()
  const onA = await served(t, place, 'a', kept, 'nor does the old owner, when it is the owner again')
  t.match(newestClaim(place), { owner: { host: 'a' }, acceptedLoss: { reason } }, 'the loss stays on record')
  await onA.close()
})

t.test('--accept-data-loss: an image that is half a cut is made whole from its journal first', async (t) => {
  const place = await lab(t, 'accept-half', SECTORS * 512, {
    ...THREE, hosts: ['a', 'c'], copies: 0, replicas: {},
  }), { cluster, held, image } = place, disk = Buffer.alloc(SECTORS * 512)
  const a = cluster.host('a'), c = cluster.host('c')
  a.append('\n[danger_zone]\nenabled = true\n[danger_zone.backing.db01]\nwrite_delay = "150ms"\n')
  await cluster.start()
  const client = await VhostClient.connect(cluster.socket('a'), buffer)
  for (let at = 0; at < SECTORS; at += 64) await write(client, disk, at, 16, 0x41)
  const flushed = a.control.flush('db01', null, () => undefined).catch(() => undefined)
  await until('the cut to be applied', 10_000, async () => (JSON.parse((await holdfast('journal', 'show', held, '--json')).stdout) as { pending: boolean } | null)?.pending === true)
  await a.kill9()
  await flushed
  await client.close().catch(() => undefined)
  t.match(await takeover(c, '--accept-data-loss', 'gone'), { code: EXIT.unsafe, stderr: /without its logs the image needs its journal \(write \d+\), which may not be on it; "holdfast journal apply .*disk\.raw\S*" first/ })
  t.match(await holdfast('journal', 'apply', image), { code: EXIT.done })
  t.match(await takeover(c, '--accept-data-loss', 'gone'), { code: EXIT.done })
  await (await served(t, place, 'c', disk, 'the disk as of the cut')).close()
})
