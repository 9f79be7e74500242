/** What a lease volume is besides a claim store: who may write in it, what is torn, what is too much. */
import { fork } from 'node:child_process'
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { addHost, formatLease } from '../../lib/claim/lease-format.js'
import { LEASE_UNIT, decodeHeader, decodeRegistration, encodeRegistration, placeAt, registrationAt, type LeaseHeader, type Registration } from '../../lib/claim/lease-layout.js'
import { LeaseClaimStore } from '../../lib/claim/lease-store.js'
import { LeaseVolume } from '../../lib/claim/lease-volume.js'
import type { Claim } from '../../lib/core/claim.js'
import { PLACES } from '../../lib/core/disk-paxos.js'
import { EXIT } from '../../lib/core/failure.js'
import { epoch, won } from '../../lib/core/units.js'
import { Workspace, sleep } from '../../fixtures/lab/workspace.js'
import { claimOf } from './claims.js'

async function made(t: Test, hosts = ['alpha', 'beta'], volumes = 2): Promise<string> {
  const workspace = new Workspace('lease'), path = workspace.file('lease')
  t.teardown(() => workspace.close())
  await formatLease(path, { hosts, slots: 3, volumes }, false)
  return path
}

const open = async (path: string, host: string): Promise<LeaseClaimStore> => new LeaseClaimStore(await LeaseVolume.open(path, host), 'db')
const headerOf = (path: string): LeaseHeader => decodeHeader(readFileSync(path).subarray(0, LEASE_UNIT)) as LeaseHeader

function change(path: string, offsetBytes: number, by: (bytes: Buffer) => Uint8Array): void {
  const fd = openSync(path, 'r+'), bytes = Buffer.alloc(LEASE_UNIT)
  readSync(fd, bytes, 0, LEASE_UNIT, offsetBytes)
  writeSync(fd, by(bytes), 0, LEASE_UNIT, offsetBytes)
  closeSync(fd)
}

t.test('a host without a slot, and one that gets it while the others go on', async (t) => {
  const path = await made(t), alpha = await open(path, 'alpha')
  t.equal(await alpha.compareAndSwap(epoch(0), claimOf(1)), 'won')
  await t.rejects(open(path, 'gamma'), { exitCode: EXIT.config, message: `the lease volume ${path} has no slot for host gamma, only for alpha, beta; add it: holdfast claims add-host ${path} gamma` })
  await addHost(path, 'gamma')
  const gamma = await open(path, 'gamma'), claim = claimOf(2, 'gamma')
  t.equal(await gamma.compareAndSwap(epoch(1), claim), 'won')
  t.same(await alpha.read(), claim)
  t.equal(await alpha.compareAndSwap(epoch(1), claimOf(2)), 'lost', 'its blocks count for those that were there before')
  await t.rejects(addHost(path, 'gamma'), { exitCode: EXIT.usage, message: /host gamma has a slot already/ })
  await t.rejects(addHost(path, 'delta'), { exitCode: EXIT.usage, message: /4 hosts need as many slots, and there are 3/ })
})

t.test('claims of every size, one that is too large, and a name too many', async (t) => {
  const path = await made(t), alpha = await open(path, 'alpha'), lease = await LeaseVolume.open(path, 'beta'), beta = new LeaseClaimStore(lease, 'db')
  const holders = Array.from({ length: 8 }, (_, i) => ({ host: `h${i}`, incarnation: 'b'.repeat(32) }))
  const withLogs = (nth: number, logs: number): Claim =>
    ({ ...claimOf(nth), epoch: epoch(1000 + nth), start: won(10_000), inherited: Array.from({ length: logs }, (_, i) => ({ epoch: epoch(i + 1), start: won(i), kept: 1, holders })), })
  for (let nth = 1; nth <= 4; nth++) {
    const claim = { ...withLogs(nth, nth * 6), epoch: epoch(nth) }
    t.equal(await (nth % 2 === 0 ? alpha : beta).compareAndSwap(epoch(nth - 1), { ...claim, inherited: claim.inherited.slice(0, nth - 1) }), 'won')
    t.match(await alpha.read(), { epoch: nth, inherited: claim.inherited.slice(0, nth - 1) })
  }
  await t.rejects(alpha.compareAndSwap(epoch(1063), withLogs(64, 64)), { exitCode: EXIT.unsafe, message: /the claim of volume db has \d+ bytes, and a lease volume takes 32256/ })
  const large = withLogs(0, 40)
  t.equal(await alpha.compareAndSwap(epoch(999), large), 'lost')
  t.equal(await new LeaseClaimStore(lease, 'two').compareAndSwap(epoch(0), claimOf(1)), 'won')
  await t.rejects(new LeaseClaimStore(lease, 'three').compareAndSwap(epoch(0), claimOf(1)), { exitCode: EXIT.config, message: /has room for 2 volumes, and they are all others; make a larger one for volume three/ })
})

t.test('a block that was cut short was never written', async (t) => {
  const path = await made(t), alpha = await open(path, 'alpha'), claim = claimOf(2), header = headerOf(path)
  await alpha.compareAndSwap(epoch(0), claimOf(1))
  await alpha.compareAndSwap(epoch(1), claim)
  const bytes = readFileSync(path), used = [0, 1].flatMap((entry) => Array.from({ length: PLACES }, (_, place) => placeAt(header, entry, 0, place)))
    .filter((at) => bytes.readBigUInt64LE(at) !== 0n).map((at) => ({ at, sequence: bytes.readBigUInt64LE(at + 40) })).sort((a, b) => Number(b.sequence - a.sequence))
  change(path, used[0]!.at, (block) => { block[513]! ^= 1; return block })
  const beta = await open(path, 'beta')
  t.match(await beta.read(), { epoch: 1 }, 'the decision was in it')
  t.equal(await beta.compareAndSwap(epoch(1), claimOf(2, 'beta')), 'lost', 'but it had been voted for before')
  t.same(await beta.read(), claim)
  for (const { at } of used) change(path, at, (block) => { block[513]! ^= 2; return block })
  await t.rejects(beta.read(), { exitCode: EXIT.damaged, message: /blocks of slot 0, entry \d in the lease volume .* are damaged; nothing was changed/ })
})

t.test('a second process with the same name here, and then a second machine', async (t) => {
  const path = await made(t), racer = fork(fileURLToPath(new URL('racer.js', import.meta.url)), ['lease', path, 'alpha'])
  t.teardown(() => racer.kill())
  const answer = await new Promise<{ outcome: string }>((resolve) => { racer.once('message', (message) => resolve(message as { outcome: string })); racer.send(1) })
  t.equal(answer.outcome, 'won')
  const alpha = await open(path, 'alpha')
  await t.rejects(alpha.compareAndSwap(epoch(1), claimOf(2)), { exitCode: EXIT.unsafe, message: /slot of host alpha in the lease volume .* is used by another process on this machine/ })
  racer.kill('SIGKILL')
  t.equal(await alpha.compareAndSwap(epoch(1), claimOf(2)), 'won', 'its lock ended with it')

  const { id } = headerOf(path), at = registrationAt(0)
  const other = (counter: number) => (bytes: Buffer): Uint8Array => encodeRegistration(id, { ...decodeRegistration(bytes, id) as Registration, session: 77, boot: 'c'.repeat(32), counter })
  change(path, at, other(0))
  const before = readFileSync(path).subarray(placeAt(headerOf(path), 0, 0, 0))
  await t.rejects(alpha.compareAndSwap(epoch(2), claimOf(3)), { exitCode: EXIT.config, message: /another machine writes to the lease volume .* as host alpha; give each machine a host.name of its own/ })
  t.ok(readFileSync(path).subarray(placeAt(headerOf(path), 0, 0, 0)).equals(before), 'nothing was written')
})

t.test('a machine of the same name lives, or is gone', async (t) => {
  const path = await made(t), { id } = headerOf(path), at = registrationAt(1)
  const foreign = (counter: number): void => change(path, at, () => encodeRegistration(id, { host: 'beta', session: 5, boot: 'c'.repeat(32), counter, ended: false }))
  foreign(1)
  const lease = await LeaseVolume.open(path, 'beta'), beta = new LeaseClaimStore(lease, 'db'), swap = beta.compareAndSwap(epoch(0), claimOf(1)).then(() => null, (error: unknown) => error)
  await sleep(300)
  foreign(2)
  t.match(await swap, { exitCode: EXIT.config, message: /another machine writes to the lease volume/ })
  t.equal(await beta.compareAndSwap(epoch(0), claimOf(1)), 'won', 'it stood still')
  await lease.close()
  t.match(decodeRegistration(readFileSync(path).subarray(at, at + LEASE_UNIT), id), { session: 6, ended: true })
})
