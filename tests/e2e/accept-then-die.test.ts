/** A back end that takes the connection and dies before the handshake is over: the next connection works. */
import { truncateSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Guest } from '../../fixtures/lab/guest.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { VhostProxy, type MessageName } from '../../fixtures/lab/vhost-proxy.js'
import { Workspace, sleep } from '../../fixtures/lab/workspace.js'

/** How the end shows depends on what was still to be read or sent. */
const ENDED = /closed the connection|could not be read from|took no/

const TASK = 'stamper /dev/vda 3 0 100 65536 && stamper --verify /dev/vda 3 0 100 65536; echo TASK-DONE'

function newWork(name: string): { work: Workspace; args: string[]; socket: string } {
  const work = new Workspace(name), image = work.file('disk.raw'), socket = work.file('v.sock')
  writeFileSync(image, '')
  truncateSync(image, 64 * 1024 * 1024)
  const cache = ['--cache', work.file('region'), '--cache-size', '64MiB', '--quarantine', '200ms']
  return { work, socket, args: ['--socket-path', socket, '--blk-file', image, ...cache] }
}

t.test('the connection ends at each message of a handshake; the next one is served', async (t) => {
  const { work, args, socket } = newWork('drop')
  t.teardown(() => work.close())
  await startBlk(work, 'blk', args)
  const messages: readonly MessageName[] = [
    'getFeatures', 'getProtocolFeatures', 'setProtocolFeatures', 'setOwner', 'getConfig', 'setFeatures', 'getInflightFd', 'setInflightFd',
    'setMemTable', 'setVringNum', 'setVringBase', 'setVringAddr', 'setVringCall', 'setVringKick', 'setVringEnable',
  ]
  for (const [i, message] of messages.entries()) {
    const proxy = new VhostProxy({ listen: work.file(`p${i}`), target: socket, drop: { [message]: 1 } })
    await t.rejects(VhostClient.connect(work.file(`p${i}`)), ENDED, `gone at ${message}`)
    const client = await VhostClient.connect(work.file(`p${i}`))
    t.equal(await client.submit({ kind: 'write', lbaSectors: i, lengthSectors: 1, bufferOffset: 0 }), 0, 'the next one is served')
    await client.close()
    proxy.close()
  }
})

t.test('a daemon dies with a connection that it never answered; its successor serves', async (t) => {
  const { work, args, socket } = newWork('frozen')
  t.teardown(() => work.close())
  const daemon = await startBlk(work, 'blk', args)
  daemon.signalAll('SIGSTOP')
  const early = VhostClient.connect(socket)
  early.catch(() => undefined)
  await sleep(200)
  await daemon.kill9()
  await t.rejects(early, ENDED, 'the front end sees the end and does not wait for its time limit')
  await startBlk(work, 'blk-2', args)
  const client = await VhostClient.connect(socket)
  t.equal(await client.submit({ kind: 'write', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }), 0)
  await client.close()
})

t.test('QEMU: the connection ends while the machine is built', { skip: requires('qemu-system-x86_64', 'guest'), timeout: 40_000 }, async (t) => {
  const { work, args, socket } = newWork('build')
  t.teardown(() => work.close())
  await startBlk(work, 'blk', args)
  // The first is the question of run-vm whether somebody is there, the second is QEMU's.
  const proxy = new VhostProxy({ listen: work.file('p'), target: socket, drop: { getFeatures: 2 } })
  work.onClose(() => proxy.close())
  const guest = new Guest(work, { name: 'vm', socket: work.file('p'), task: TASK, limitSeconds: 38, memory: '256M' })
  await guest.waitFor(/TASK-DONE/, 35_000)
  t.match(guest.serial, /^STAMPS bad=0 of/m)
  t.ok(proxy.connections >= 3, `${proxy.connections} connections`)
})
