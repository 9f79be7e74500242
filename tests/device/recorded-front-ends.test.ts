/** What real front ends were recorded to say: every answer has the recorded shape, and the device goes on serving. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { startBlk } from '../../fixtures/lab/daemon.js'
import type { Child } from '../../fixtures/lab/process.js'
import { readVhostTrace, replayVhostTrace } from '../../fixtures/lab/vhost-replay.js'
import { ROOT, Workspace, until } from '../../fixtures/lab/workspace.js'

const FOLDER = join(ROOT, 'fixtures/vhost-traces')
const names = readdirSync(FOLDER).filter((name) => name.endsWith('.jsonl')).sort()
const traces = names.map((name) => ({ name, lines: readVhostTrace(join(FOLDER, name)) }))

const descriptors = (child: Child): number => readdirSync(`/proc/${child.pid}/fd`).length
/** The recordings' own: a config space that is shorter than it was would be seen. */
const CAPACITY_BYTES = 1024 * 1024 * 1024

async function serve(t: Test, cached: boolean): Promise<{ daemon: Child; socket: string }> {
  const work = new Workspace('recorded')
  t.teardown(() => work.close())
  const image = work.image('vm1.raw', CAPACITY_BYTES), socket = work.file('s')
  const args = ['--socket-path', socket, '--blk-file', image, ...(cached ? ['--cache', work.file('region'), '--cache-size', '64MiB'] : [])]
  return { daemon: await startBlk(work, 'blk', args), socket }
}

async function servesAClient(t: Test, socket: string, fill: number): Promise<void> {
  const client = await VhostClient.connect(socket)
  client.buffer.fill(fill, 0, 4096)
  t.equal(await client.submit({ kind: 'write', lbaSectors: 8, lengthSectors: 8, bufferOffset: 0 }), 0)
  client.buffer.fill(0, 0, 4096)
  t.equal(await client.submit({ kind: 'read', lbaSectors: 8, lengthSectors: 8, bufferOffset: 0 }), 0)
  t.ok(client.buffer.subarray(0, 4096).every((byte) => byte === fill), 'a client finds its data again')
  await client.close()
}

t.test('there are recordings', async (t) => {
  t.ok(traces.length >= 5)
  for (const { name, lines } of traces) t.ok(lines.filter((line) => line.from === 'back').length >= 5, name)
})

for (const cached of [false, true]) {
  t.test(cached ? 'recordings on a cached volume' : 'recordings on a volume that is passed through', async (t) => {
    const { daemon, socket } = await serve(t, cached)
    for (const [i, { name, lines }] of traces.entries()) {
      const outcome = await replayVhostTrace(lines, socket)
      t.same(outcome.differences, [], name)
      t.equal(outcome.sent + outcome.replies, lines.length)
      await servesAClient(t, socket, 1 + i)
    }
    t.notMatch(daemon.output, /is broken/, 'no ring was found in disorder')
    t.equal(daemon.exit, null)
  })
}

t.test('a front end dies after any of its messages', async (t) => {
  const { daemon, socket } = await serve(t, false)
  const before = descriptors(daemon)
  for (const { name, lines } of traces) {
    const differences: string[] = []
    for (let n = 1; n < lines.length; n++) differences.push(...(await replayVhostTrace(lines, socket, n)).differences)
    t.same(differences, [], name)
    await servesAClient(t, socket, 7)
  }
  await until('all descriptors to be closed', 3000, () => descriptors(daemon) <= before)
  t.equal(daemon.exit, null)
  t.notMatch(daemon.output, /is broken/)
})
