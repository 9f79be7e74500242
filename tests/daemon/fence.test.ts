/** The fence command, as a real script: what it is told, what its end means, and when it is not run. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { EXIT } from '../../lib/core/failure.js'
import { epoch } from '../../lib/core/units.js'
import { Fence, type FenceTarget } from '../../lib/daemon/fence.js'
import type { LabHost } from '../../fixtures/lab/daemon.js'
import { until } from '../../fixtures/lab/workspace.js'
import { holdfast, workDirectory } from '../cli/holdfast.js'
import { lab, type Lab } from '../volume/lab.js'

/** A dead owner would be waited for longer than the test runs. */
const UNDYING = 'renew = "200ms"\nfail_after = "600ms"\ndead_after = "10m"\nquarantine = "600ms"\npeer_deadline = "4s"'

function script(path: string, body: string): string {
  writeFileSync(path, `#!/bin/sh\n${body}\n`)
  chmodSync(path, 0o755)
  return path
}

interface Bench { readonly fence: Fence; readonly said: string[]; readonly file: (name: string) => string }

function bench(t: Test, body: string, over: { timeout?: number; storage?: boolean } = {}): Bench {
  const directory = workDirectory(t), said: string[] = [], file = (name: string): string => join(directory, name)
  const log = { info: () => undefined, warn: (text: string) => { said.push(text) } }
  const command = [script(file('fence'), body.replaceAll('@', `${directory}/`)), 'first', 'second word']
  const fence = new Fence({ command, timeout: over.timeout ?? 10_000, storage: over.storage ?? false }, 'hv01', log)
  t.teardown(() => fence.stop())
  return { fence, said, file }
}

const target = (over: Partial<FenceTarget> = {}): FenceTarget =>
  ({ volume: 'db01', owner: { host: 'hv07', incarnation: 'a'.repeat(32) }, epoch: epoch(41), wanted: () => true, ...over })

t.test('it is told whom to fence, and exit code 0 is success', async (t) => {
  const { fence, file } = bench(t, 'echo "$1/$2 $HOLDFAST_HOST $HOLDFAST_VOLUME $HOLDFAST_EPOCH $HOLDFAST_INCARNATION" > @told')
  t.same(await fence.run(target()), { storage: false })
  t.equal(readFileSync(file('told'), 'utf8'), `first/second word hv07 db01 41 ${'a'.repeat(32)}\n`)
  t.same(await bench(t, 'exit 0', { storage: true }).fence.run(target()), { storage: true })
})

t.test('any other end is none, said once with its words', async (t) => {
  const failed = bench(t, 'echo "no route to the BMC" >&2; exit 3')
  t.equal(await failed.fence.run(target()), null)
  t.same(failed.said.slice(1), ['the fence against hv07, for volume db01 at epoch 41, failed: exit code 3, "no route to the BMC"; its heartbeat is waited for as without a fence'])
  const signalled = bench(t, 'kill -TERM $$')
  t.equal(await signalled.fence.run(target()), null)
  t.match(signalled.said[1], /failed: ended by SIGTERM;/)
})

t.test('at the time limit it is killed, with what it has started', async (t) => {
  const { fence, said, file } = bench(t, 'sleep 600 & echo $! > @child; wait', { timeout: 400 })
  t.equal(await fence.run(target()), null)
  t.match(said[1], /failed: no end within 400 ms/)
  const child = Number(readFileSync(file('child'), 'utf8'))
  await until('the end of its child', 5000, () => !existsSync(`/proc/${child}`) || / Z /.test(readFileSync(`/proc/${child}/stat`, 'utf8')))
  t.pass('nothing is left')
})

t.test('one at a time; not for what nobody waits for when its turn comes; never against this host', async (t) => {
  const { fence, file } = bench(t, 'mkdir @lock || echo both >> @both; sleep 0.3; rmdir @lock; echo $HOLDFAST_VOLUME >> @runs')
  let wanted = true
  const runs = ['v1', 'v2', 'v3'].map((volume) => fence.run(target({ volume, wanted: () => volume !== 'v2' || wanted })))
  wanted = false
  t.same(await Promise.all(runs), [{ storage: false }, null, { storage: false }])
  t.equal(readFileSync(file('runs'), 'utf8'), 'v1\nv3\n')
  t.notOk(existsSync(file('both')))
  t.equal(await fence.run(target({ owner: { host: 'hv01', incarnation: 'b'.repeat(32) } })), null)
  t.equal(readFileSync(file('runs'), 'utf8'), 'v1\nv3\n')
})

t.test('a stop ends it', async (t) => {
  const { fence, said } = bench(t, 'sleep 600')
  const run = fence.run(target())
  await until('its start', 5000, () => said.length === 1)
  await fence.stop()
  t.equal(await run, null)
  t.equal(await fence.run(target()), null, 'and none begins any more')
})

/** a is the owner with its data on b; b has a fence. */
async function cluster(t: Test, body: string, options: { timing?: string; storage?: boolean } = {}): Promise<Lab & { readonly runs: () => string[]; readonly disk: Buffer; readonly client: VhostClient }> {
  const place = await lab(t, 'fence', 1024 * 1024, { timing: options.timing ?? UNDYING, volume: 'destage_delay = "60s"' }), runsFile = place.work.file('runs')
  const command = script(place.work.file('fence'), `echo "$HOLDFAST_HOST $HOLDFAST_VOLUME" >> ${runsFile}; ${body}`)
  for (const host of place.cluster.hosts.values()) host.append(`\n[fence]\ncommand = ["${command}"]\nstorage = ${options.storage ?? false}\n`)
  await place.cluster.start()
  const client = await VhostClient.connect(place.cluster.socket('a'), { bufferBytes: 4096 }), disk = Buffer.alloc(4096, 0x5a)
  client.buffer.fill(0x5a)
  t.equal(await client.submit({ kind: 'write', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }), 0)
  return { ...place, client, disk, runs: () => existsSync(runsFile) ? readFileSync(runsFile, 'utf8').trimEnd().split('\n') : [] }
}

async function readOn({ cluster }: Lab, host: string): Promise<Buffer> {
  const client = await VhostClient.connect(cluster.socket(host), { bufferBytes: 4096, timeoutMs: 30_000 })
  const status = await client.submit({ kind: 'read', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 })
  const bytes = Buffer.from(client.buffer)
  await client.close()
  if (status !== 0) throw new Error('a read failed')
  return bytes
}

for (const storage of [false, true]) t.test(`a guest's start behind a dead owner fences it and goes on, storage = ${storage}`, async (t) => {
  const place = await cluster(t, 'exit 0', { storage })
  await place.cluster.host('a').kill9()
  t.ok((await readOn(place, 'b')).equals(place.disk))
  t.match(await place.cluster.host('b').volume('db01'), { phase: 'serving', owner: 'b' })
  t.same(place.runs(), ['a db01'])
  t.match(place.cluster.host('b').child!.output, storage ? /serving epoch 2 as write-back with \{b\}, inherited/ : /serving epoch 2 as write-back with \{b\}, in quarantine/)
})

t.test('a fence that fails leaves the usual waiting; a hand-over and an own restart have none', async (t) => {
  const place = await cluster(t, 'exit 1', { timing: 'renew = "200ms"\nfail_after = "600ms"\ndead_after = "2s"\nquarantine = "600ms"\npeer_deadline = "4s"' })
  const host = (name: string): LabHost => place.cluster.host(name)
  await place.client.close()
  t.match(await holdfast('volume', 'takeover', 'db01', '--control', host('b').controlPath), { code: EXIT.done })
  await host('b').kill9()
  await host('b').start()
  await until('b to serve again, with a copy', 15_000, async () => {
    const { phase, set } = await host('b').volume('db01')
    return phase === 'serving' && set.includes('a')
  })
  t.same(place.runs(), [], 'none so far')
  await host('b').kill9()
  t.ok((await readOn(place, 'a')).equals(place.disk), 'after dead_after')
  t.same(place.runs(), ['b db01'])
  t.equal(host('a').child!.output.split('failed: exit code 1').length - 1, 1, 'said once')
})

t.test('a command that cannot be run is an error of the configuration', async (t) => {
  const directory = workDirectory(t), config = join(directory, 'h.toml')
  const text = (command: string): string => `[host]\nname = "a"\ncontrol_socket = "ctl"\n[region]\npath = "region"\nsize = "64MiB"\n[fence]\ncommand = ${command}\n`
  writeFileSync(config, text('["/no/such/fence"]'))
  t.match(await holdfast('serve', '--config', config), { code: EXIT.config, stderr: /^holdfast: fence\.command: \/no\/such\/fence cannot be run: ENOENT/ })
  for (const command of ['[]', '["fence"]', '"/bin/true"', '[1]']) {
    writeFileSync(config, text(command))
    t.match(await holdfast('serve', '--config', config), { code: EXIT.config, stderr: /fence\.command.* must be a list of words, the first an absolute path/ }, command)
  }
  t.notOk(existsSync(join(directory, 'region')))
})
