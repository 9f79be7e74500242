/** Real processes: who shares one, what becomes of calls when one ends, and that none outlives its daemon. */
import { fork } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { ClaimWorkers } from '../../lib/claim/claim-workers.js'
import { EXIT } from '../../lib/core/failure.js'
import { epoch } from '../../lib/core/units.js'
import { limits } from '../../lib/limits.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'
import { claimOf } from './claims.js'

function setup(t: Test): { path: string; said: string[]; workers: ClaimWorkers } {
  const workspace = new Workspace('workers'), said: string[] = []
  const workers = new ClaimWorkers('alpha', { info: (m) => said.push(m), warn: (m) => said.push(m) })
  t.teardown(async () => { workers.close(); await workspace.close() })
  return { path: workspace.path, said, workers }
}

const gone = (pid: number): Promise<boolean> => until(`the end of ${pid}`, 10_000, () => !existsSync(`/proc/${pid}`))

t.test('a datastore has one worker, whatever leads to it', async (t) => {
  const { path, workers } = setup(t), memory = mkdtempSync('/dev/shm/hf-claims-')
  t.teardown(() => rmSync(memory, { recursive: true, force: true }))
  symlinkSync(memory, join(path, 'link'))
  const places = [join(path, 'one'), join(path, 'two/not/yet'), memory, join(path, 'link/three')]
  for (const place of places) t.equal(await workers.store(place, 'db').read(), null)
  const [one, two, three, four] = places.map((place) => workers.pidOf(place))
  t.equal(one, two)
  t.equal(three, four, 'a link leads elsewhere')
  t.not(one, three)
  await Promise.all(['x', 'y', 'z'].flatMap((name) => ['db', 'other'].map((volume) => workers.store(join(path, name), volume).read())))
  t.same(['x', 'y', 'z'].map((name) => workers.pidOf(join(path, name))), [one, one, one], 'also when they are looked for at the same time')
})

t.test('more calls than a worker makes at a time are all answered, in the end', async (t) => {
  const { path, workers } = setup(t), count = limits.claimCallsMax * 4
  const outcomes = await Promise.all(Array.from({ length: count }, (_, i) => workers.store(path, `db${i}`).compareAndSwap(epoch(0), claimOf(1))))
  t.same([...new Set(outcomes)], ['won'])
  t.equal((await workers.volumesIn(path)).length, count)
})

t.test('what is wrong with a claim is said as if it had been read here', async (t) => {
  const { path, workers } = setup(t), store = workers.store(path, 'db')
  await store.compareAndSwap(epoch(0), claimOf(1))
  writeFileSync(join(path, 'db/epoch-0000000000000001.json'), 'x')
  await t.rejects(store.read(), { name: 'Failure', exitCode: EXIT.damaged, message: /cannot be read as JSON; nothing was changed/ })
})

t.test('a worker that dies: what was asked of it is unknown, and the next one goes on', async (t) => {
  const { path, workers, said } = setup(t), store = workers.store(path, 'db')
  await store.compareAndSwap(epoch(0), claimOf(1))
  const pid = workers.pidOf(path)!
  process.kill(pid, 'SIGSTOP')
  const calls = [store.compareAndSwap(epoch(1), claimOf(2)), store.read().catch((error: unknown) => error)]
  await new Promise((resolve) => setImmediate(resolve))
  process.kill(pid, 'SIGKILL')
  t.match(await Promise.all(calls), ['unknown', { exitCode: EXIT.unreachable, message: /did not answer \(read\): its claim worker ended/ }])
  t.match(await store.read(), { epoch: 1 })
  t.not(workers.pidOf(path), pid)
  t.match(said, [/the claim worker of the datastore of .* ended \(SIGKILL\); it is started again/, /^whether epoch 2 of volume db began is not known: /])
  await gone(pid)
})

t.test('signals for the daemon\'s group do not end a worker; the end of its daemon does, however it ended', async (t) => {
  const { path, workers } = setup(t), store = workers.store(path, 'db')
  await store.read()
  const pid = workers.pidOf(path)!
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.kill(pid, signal)
  t.equal(await store.compareAndSwap(epoch(0), claimOf(1)), 'won')
  t.equal(workers.pidOf(path), pid)
  workers.close()
  await gone(pid)
  await t.rejects(store.read(), { message: /this host is stopping/ })
  const user = fork(fileURLToPath(new URL('worker-user.js', import.meta.url)), [path])
  const of = await new Promise<number>((resolve) => { user.once('message', (pid) => resolve(pid as number)) })
  t.ok(existsSync(`/proc/${of}`))
  user.kill('SIGKILL')
  t.ok(await gone(of), 'killed')
  const quiet = fork(fileURLToPath(new URL('worker-user.js', import.meta.url)), [path])
  const other = await new Promise<number>((resolve) => { quiet.once('message', (pid) => { resolve(pid as number); quiet.disconnect() }) })
  t.equal(await new Promise((resolve) => { quiet.once('exit', resolve) }), 0, 'a worker keeps nobody alive')
  t.ok(await gone(other))
})
