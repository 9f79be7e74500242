/** What every claim store has to do, in a directory and on a lease volume, called here and by way of a worker. */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { ClaimWorkers } from '../../lib/claim/claim-workers.js'
import { formatLease } from '../../lib/claim/lease-format.js'
import { LeaseClaimStore } from '../../lib/claim/lease-store.js'
import { LeaseVolume } from '../../lib/claim/lease-volume.js'
import { PosixDirClaimStore } from '../../lib/claim/posix-dir.js'
import { epoch } from '../../lib/core/units.js'
import type { ClaimStore } from '../../lib/ports/claim-store.js'
import { Workspace } from '../../fixtures/lab/workspace.js'
import { claimOf } from './claims.js'

const HOSTS = ['alpha', 'beta', 'gamma', 'delta', 'epsilon']

/** Of one volume, each store as another host has it. */
type Open = (host: string, volume: string) => Promise<ClaimStore>

async function placeOf(t: Test, kind: string): Promise<string> {
  const workspace = new Workspace('conform'), place = workspace.file('claims')
  t.teardown(() => workspace.close())
  if (kind === 'lease') await formatLease(place, { hosts: HOSTS, slots: 8, volumes: 16 }, false)
  return place
}

async function opener(t: Test, kind: string, worker: boolean): Promise<Open> {
  const place = await placeOf(t, kind), leases = new Map<string, Promise<LeaseVolume>>(), workers = new Map<string, ClaimWorkers>()
  t.teardown(async () => {
    for (const each of workers.values()) each.close()
    for (const lease of leases.values()) await (await lease).close()
  })
  return async (host, volume) => {
    if (worker) {
      if (!workers.has(host)) workers.set(host, new ClaimWorkers(host, { info: () => undefined, warn: (m) => t.comment(m) }))
      return workers.get(host)!.store(place, volume)
    }
    if (kind === 'directory') return new PosixDirClaimStore(place, volume)
    if (!leases.has(host)) leases.set(host, LeaseVolume.open(place, host))
    return new LeaseClaimStore(await leases.get(host)!, volume)
  }
}

for (const [kind, worker] of [['directory', false], ['directory', true], ['lease', false], ['lease', true]] as const) {
  t.test(`${kind}${worker ? ', by way of a worker' : ''}`, async (t) => {
    const open = await opener(t, kind, worker)

    t.test('the first claim, and those that come after it', async (t) => {
      const one = await open('alpha', 'v1'), two = await open('beta', 'v1')
      t.equal(await one.read(), null)
      t.equal(await one.readBeat(), null)
      const first = claimOf(1), winner = claimOf(2, 'beta')
      t.equal(await one.compareAndSwap(epoch(0), first), 'won')
      t.same([await one.read(), await two.read()], [first, first])
      t.equal(await (await open('beta', 'other')).read(), null, 'each volume has its own')
      t.equal(await two.compareAndSwap(epoch(1), winner), 'won')
      t.equal(await one.compareAndSwap(epoch(1), claimOf(2)), 'lost')
      t.equal(await one.compareAndSwap(epoch(0), claimOf(1)), 'lost')
      t.equal(await one.compareAndSwap(epoch(7), claimOf(8)), kind === 'lease' ? 'lost' : 'won', 'nobody asks for this')
    })

    t.test('a change that is tried again recognises its own success', async (t) => {
      const one = await open('alpha', 'v2'), claim = claimOf(1)
      t.same([await one.compareAndSwap(epoch(0), claim), await one.compareAndSwap(epoch(0), claim)], ['won', 'won'])
      t.same(await (await open('beta', 'v2')).read(), claim)
    })

    t.test('several at the same time, of one host and of many: one wins, and everybody reads it', async (t) => {
      for (let nth = 1; nth <= 6; nth++) {
        const stores = await Promise.all([...HOSTS.slice(0, 3), 'alpha'].map((host) => open(host, 'v3'))), claims = stores.map(() => claimOf(nth))
        const outcomes = await Promise.all(stores.map((store, i) => store.compareAndSwap(epoch(nth - 1), claims[i]!)))
        t.same([...outcomes].sort(), ['lost', 'lost', 'lost', 'won'])
        for (const store of stores) t.same(await store.read(), claims[outcomes.indexOf('won')])
      }
    })

    t.test('many volumes at once', async (t) => {
      const names = Array.from({ length: 8 }, (_, i) => `db${i}`)
      const claims = names.map(() => claimOf(1)), outcomes = await Promise.all(names.map(async (name, i) => (await open(HOSTS[i % 3]!, name)).compareAndSwap(epoch(0), claims[i]!)))
      t.same(outcomes, names.map(() => 'won'))
      t.same(await Promise.all(names.map(async (name) => (await open('delta', name)).read())), claims)
    })

    t.test('a heartbeat is read as it was written, and is no part of the claim', async (t) => {
      const one = await open('alpha', 'v5'), two = await open('beta', 'v5'), { owner } = claimOf(1)
      await one.compareAndSwap(epoch(0), claimOf(1))
      for (const counter of [1, 2]) {
        await one.beat({ owner, epoch: epoch(1), counter })
        t.same(await two.readBeat(), { owner, epoch: 1, counter })
      }
      await two.compareAndSwap(epoch(1), claimOf(2, 'beta'))
      await two.beat({ owner: claimOf(2, 'beta').owner, epoch: epoch(2), counter: 1 })
      t.match(await one.readBeat(), { owner: { host: 'beta' }, epoch: 2, counter: 1 })
      t.match(await one.read(), { epoch: 2 })
    })
  })
}

for (const kind of ['directory', 'lease']) {
  t.test(`${kind}: of racing processes exactly one wins each epoch`, async (t) => {
    const place = await placeOf(t, kind), racers = HOSTS.slice(0, 4).map((host) => fork(fileURLToPath(new URL('racer.js', import.meta.url)), [kind, place, host]))
    t.teardown(() => { for (const racer of racers) racer.kill() })
    const store = kind === 'lease' ? new LeaseClaimStore(await LeaseVolume.open(place, ''), 'db') : new PosixDirClaimStore(place, 'db')
    for (let nth = 1; nth <= 15; nth++) {
      const answers = await Promise.all(racers.map((racer) => new Promise<{ outcome: string; nonce: string }>((resolve) => {
        racer.once('message', (answer) => resolve(answer as { outcome: string; nonce: string }))
        racer.send(nth)
      })))
      t.same(answers.map(({ outcome }) => outcome).sort(), ['lost', 'lost', 'lost', 'won'], `epoch ${nth}`)
      t.match(await store.read(), { epoch: nth, nonce: answers.find(({ outcome }) => outcome === 'won')!.nonce })
    }
  })
}
