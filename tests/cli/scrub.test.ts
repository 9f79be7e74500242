/** `holdfast scrub` on running hosts whose disks have lost something. */
import t from 'tap'
import { until } from '../../fixtures/lab/workspace.js'
import { EXIT } from '../../lib/core/failure.js'
import { holdfast } from './holdfast.js'
import { rot, scrub, served, write } from './scrub-lab.js'

t.test('sound logs, as owner and as replica see them', { timeout: 60_000 }, async (t) => {
  const place = await served(t, 'scrub')
  const idle = await holdfast('scrub', '--config', place.cluster.host('a').config)
  t.same(idle, { code: EXIT.done, stdout: 'nothing is dirty, so there is nothing to check\n', stderr: '' })
  await write(place.client, 10)
  const log = { volume: 'db01', epoch: 1, records: 10, bytes: 10 * 8192, damage: [], trimmed: false, problem: null }
  const { outcome, result } = await scrub(place, 'a')
  t.equal(outcome.code, EXIT.done)
  t.same(result.logs, [{ host: 'a', ...log }, { host: 'b', ...log }])
  t.same((await scrub(place, 'b', '--volume', 'db01')).result.logs, [{ host: 'b', ...log }], 'a replica checks what it holds, and asks nobody')
  const shown = await holdfast('scrub', '--config', place.cluster.host('a').config, '-p')
  t.match(shown, { code: EXIT.done, stdout: /^db01 {2}epoch 1 {2}on a {2}10 records {2}80 KiB {2}good\ndb01 {2}epoch 1 {2}on b {2}10 records {2}80 KiB {2}good\n2 logs, 160 KiB in \d\.\d s: no damage\n$/ })
  t.match(shown.stderr, /scrubbing \(100\/100%\)\n$/)
  t.match((await place.cluster.host('a').status()).scrub, { logs: 2, records: 20, bytes: 20 * 8192, damaged: { length: 0 }, incomplete: 0 })
  t.match(await holdfast('scrub', '--config', place.cluster.host('a').config, '--volume', 'db02'), { code: EXIT.usage, stderr: /no volume db02 on this host/ })
})

t.test('damage in a copy: each record with its place, the other logs as well, and the guest goes on', { timeout: 60_000 }, async (t) => {
  const place = await served(t, 'scrub-copy')
  await write(place.client, 10)
  const at4 = rot(place.regions.b, 4, 'data'), at8 = rot(place.regions.b, 8, 'header')
  for (const host of ['a', 'b']) {
    const { outcome, result } = await scrub(place, host)
    t.equal(outcome.code, EXIT.damaged)
    t.match(result.logs.find((log) => log.host === 'b'), {
      records: 8, bytes: 8 * 8192, problem: null,
      damage: [{ record: 4, offsetBytes: at4, what: 'its data is damaged' }, { record: 8, offsetBytes: at8, what: 'the header does not match its checksum' }],
    }, `as ${host} sees it, with the records between and behind`)
    t.match(outcome.stderr, host === 'a' ? /^holdfast: the copy of db01 on b is damaged: "holdfast volume flush db01" brings everything to the backing from here; then look after the disk of b\n$/
      : /^holdfast: the copy of db01 on this host is damaged: "holdfast volume flush db01" on the host that serves it brings everything to the backing/)
    t.match(result.logs.filter((log) => log.host === 'a'), host === 'a' ? [{ records: 10, damage: { length: 0 } }] : { length: 0 })
  }
  const { stdout } = await holdfast('scrub', '--config', place.cluster.host('a').config)
  t.match(stdout, `db01  epoch 1  on b   8 records  64 KiB  DAMAGED\n  record 4 at byte ${at4} of the region: its data is damaged\n  record 8 at byte ${at8} of the region: the header`)
  t.match((await holdfast('status', '--config', place.cluster.host('a').config)).stdout, /^ {2}scrubbed +\d{4}-\d\d-\d\d \d\d:\d\d UTC, 18 records, 144 KiB: DAMAGE in 2 records on b, see "holdfast scrub"$/m)
  await write(place.client, 1, 8, 20)
  t.match(await place.cluster.host('a').volume('db01'), { policy: { effective: 'write-back, 1 copy', reason: null } })
  await place.cluster.host('a').control.flush('db01', null, () => undefined)
  t.match((await scrub(place, 'a')).outcome.code, EXIT.done, 'what is said to be done helps')
})

t.test('damage in the log that the guest reads from ends as when destaging finds it', { timeout: 60_000 }, async (t) => {
  const place = await served(t, 'scrub-own')
  await write(place.client, 10)
  const at6 = rot(place.regions.a, 6, 'data')
  const { outcome, result } = await scrub(place, 'a')
  t.equal(outcome.code, EXIT.damaged)
  t.match(result.logs, [{ host: 'a', records: 9, damage: [{ record: 6, offsetBytes: at6 }] }, { host: 'b', records: 10, damage: { length: 0 } }])
  t.match(outcome.stderr, /^holdfast: db01 is damaged on this host, which serves it: where a peer has a copy it is read from there from now on/)
  const a = place.cluster.host('a')
  await until('the claim to name the copy only', 5000, async () => (await a.volume('db01')).epoch > 1)
  await a.control.flush('db01', null, () => undefined)
  t.match(await a.volume('db01'), { phase: 'serving', dirtyBytes: 0, policy: { reason: null } }, 'repaired from the copy')
  t.match(place.cluster.host('a').child!.output, new RegExp(`on a, record 6 of volume db01, epoch 1, at byte ${at6} of its region: its data is damaged`))
})

t.test('a peer that cannot be asked', { timeout: 60_000 }, async (t) => {
  const place = await served(t, 'scrub-gone')
  await write(place.client, 3)
  await place.cluster.host('b').kill9()
  const { outcome, result } = await scrub(place, 'a')
  t.equal(outcome.code, EXIT.unreachable)
  t.match(result.logs, [{ host: 'a', records: 3, problem: null }, { host: 'b', records: 0, problem: /^b is not connected|the connection to b broke/ }])
  t.match(outcome.stderr, /^holdfast: db01, epoch 1, on b was not checked to its end: /)
})
