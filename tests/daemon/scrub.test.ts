/** What goes on during a scrub, and scrubs that nobody asked for. */
import { readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { EXIT } from '../../lib/core/failure.js'
import type { ScrubResult } from '../../lib/ports/control.js'
import { until } from '../../fixtures/lab/workspace.js'
import { Running, holdfast } from '../cli/holdfast.js'
import { KEPT, MIB, rot, served, write } from '../cli/scrub-lab.js'
import { PATIENT, lab } from '../volume/lab.js'

/** With -p: its first piece is behind it. */
const begun = (running: Running): Promise<void> => new Promise((resolve, reject) => {
  running.child.stderr!.on('data', (text: string) => { if (text.includes('scrubbing (')) resolve() })
  void running.ended.then(({ stderr }) => reject(new Error(`it ended: ${stderr}`)))
})

t.test('what is trimmed, sealed and deleted during a scrub is nobody\'s damage', { timeout: 60_000 }, async (t) => {
  const place = await served(t, 'scrub-trim', { regionSize: '128MiB' }), { control, config } = place.cluster.host('a')
  await write(place.client, 24, 2048)
  const running = new Running(['scrub', '--config', config, '--rate', '1', '-p', '--json'])
  await begun(running)
  await control.policy('db01', 'write-through', () => undefined)
  const { code, stdout, stderr } = await running.ended, { logs } = JSON.parse(stdout) as ScrubResult
  t.equal(code, EXIT.done, stderr)
  t.match(logs, [{ host: 'a', damage: { length: 0 }, trimmed: true, problem: null }, { host: 'b', damage: { length: 0 }, trimmed: true, problem: null }])
  t.ok(logs[0]!.records > 0 && logs[0]!.records < 24, `${logs[0]!.records} records before they went to the backing`)
  t.match(stderr, /^scrubbing \(/, 'and its progress')
})

t.test('one at a time, and one that nobody waits for ends', { timeout: 60_000 }, async (t) => {
  const place = await served(t, 'scrub-off', { regionSize: '128MiB' }), { config } = place.cluster.host('a')
  await write(place.client, 16, 2048)
  const first = new Running(['scrub', '--config', config, '--rate', '1', '-p'])
  await begun(first)
  t.match(await holdfast('scrub', '--config', config), { code: EXIT.unsafe, stderr: 'holdfast: a scrub or verify is under way on this host; wait until it is done\n' })
  t.match(await holdfast('volume', 'verify', 'db01', '--config', config), { code: EXIT.unsafe })
  first.child.kill('SIGKILL')
  await first.ended
  const third = await until('the next one', 5000, async () => {
    const outcome = await holdfast('scrub', '--config', config, '--rate', '1000')
    return outcome.code === EXIT.done && outcome
  })
  t.match(third.stdout, '2 logs, 32.1 MiB in ')
})

t.test('by itself, as the configuration says', { timeout: 60_000 }, async (t) => {
  const place = await lab(t, 'scrub-every', 32 * MIB, { timing: PATIENT, volume: KEPT }), a = place.cluster.host('a')
  writeFileSync(a.config, readFileSync(a.config, 'utf8').replace('[region]\n', '[region]\nscrub_every = "1s"\n'))
  await place.cluster.start()
  const client = await VhostClient.connect(place.cluster.socket('a'))
  t.teardown(() => client.abort())
  await write(client, 10)
  const good = await until('a scrub of all', 10_000, async () => { const { scrub } = await a.status(); return scrub?.records === 20 && scrub })
  t.same([good.logs, good.damaged], [2, []])
  rot(place.work.file('b.region'), 4, 'data')
  const bad = await until('the damage', 10_000, async () => { const { scrub } = await a.status(); return scrub !== null && scrub.damaged.length > 0 && scrub })
  t.match(bad.damaged, [{ host: 'b', volume: 'db01', damage: [{ record: 4 }] }])
  t.match(a.child!.output, /! on b, record 4 of volume db01, epoch 1, at byte \d+ of its region: its data is damaged/)
  t.ok(Date.parse(bad.endedAt) > Date.parse(good.endedAt), 'again and again')
  t.equal((await place.cluster.host('b').status()).scrub, null, 'where it is not configured there is none')
  t.equal(await a.stop(), 0, 'and it is no hindrance to a stop')
})
