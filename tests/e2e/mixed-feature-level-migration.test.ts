/**
 * Migration to a back end that offers less. Features that the guest uses are missing: QEMU refuses, and the guest goes on
 * where it is. Only protocol features are missing: the guest moves. Nothing is lost either way.
 */
import t from 'tap'
import { FEATURE, PROTOCOL_FEATURE } from '../../lib/vhost/protocol.js'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { COMMIT_UNTIL_TOLD } from '../../fixtures/lab/guest-tasks.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { VhostProxy } from '../../fixtures/lab/vhost-proxy.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const lastCommit = (guest: Guest): number => Number([...guest.serial.matchAll(/^C (\d+) /gm)].at(-1)?.[1] ?? 0)
const MORE = /^C \d+ [\s\S]*^C \d+ /m

t.test('a destination with fewer features', { skip: requires('qemu-system-x86_64', 'guest'), timeout: 60_000 }, async (t) => {
  const work = new Workspace('mixed')
  t.teardown(() => work.close())
  const image = work.image('disk.raw', 64 * 1024 * 1024), socket = work.file('v.sock')
  const cache = ['--cache', work.file('region'), '--cache-size', '128MiB']
  const daemon = await startBlk(work, 'blk', ['--socket-path', socket, '--blk-file', image, ...cache])
  const { inflightShmfd, configureMemSlots, backendReq, resetDevice } = PROTOCOL_FEATURE
  const newer = inflightShmfd | configureMemSlots | backendReq | resetDevice
  const proxies = [
    new VhostProxy({ listen: work.file('less.sock'), target: socket, hideFeatures: FEATURE.writeZeroes | FEATURE.discard | FEATURE.eventIdx }),
    new VhostProxy({ listen: work.file('old.sock'), target: socket, hideProtocolFeatures: newer }),
  ]
  work.onClose(() => { for (const proxy of proxies) proxy.close() })
  const options = { task: COMMIT_UNTIL_TOLD, limitSeconds: 58, memory: '256M' } as const
  const source = new Guest(work, { ...options, name: 'a', socket })
  const less = new Guest(work, { ...options, name: 'b', socket: work.file('less.sock'), incoming: true })
  await source.waitFor(/^C \d+ /m, 30_000)

  await t.rejects(source.migrateTo(less, work, 20_000), /failed|closed its monitor|running at its dest/, 'it is refused')
  await less.kill9()
  const monitor = await source.qmp(), status = await monitor.call('query-status') as { status: string }
  // A failure at the very end is noticed by the destination alone: the source has stopped its guest and keeps it.
  if (status.status !== 'running') await monitor.call('cont')
  t.comment(`the source was ${status.status} after the refusal`)
  const refusedAt = source.serial.length
  await source.waitFor(new RegExp(`^[\\s\\S]{${refusedAt}}[\\s\\S]*^C \\d+ [\\s\\S]*^C \\d+ `, 'm'), 15_000)
  t.pass('the guest goes on at its source')

  const old = new Guest(work, { ...options, name: 'c', socket: work.file('old.sock'), incoming: true })
  const moved = await source.migrateTo(old, work, 20_000)
  t.ok(moved.stopToResumeMs > 0, 'it moves to a back end without inflight region and memory slots')
  await old.waitFor(MORE, 15_000)
  const before = lastCommit(source)
  await source.kill9()
  await old.say('stop')
  await old.waitFor(/TASK-DONE/, 20_000)
  const after = lastCommit(old)
  t.ok(after > before)
  t.match(old.serial, new RegExp(`^VERIFY ${after} of ${after}$`, 'm'), `${after} commits are all there`)
  t.notMatch(source.serial + old.serial, /I\/O error/)
  t.notMatch(daemon.output, /is broken|unanswered/)
  t.equal(proxies[1]!.count('getInflightFd'), 0, 'the destination asked for no inflight region')
})
