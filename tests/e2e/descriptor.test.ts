/** --fd N: a listening socket, as from systemd, and a connected one, as from a front end that starts its back end. */
import { closeSync } from 'node:fs'
import t from 'tap'
import { native } from 'vhost-user-ts-bindings'
import { VhostClient } from '../../lib/client/front-end.js'
import { EXIT } from '../../lib/core/failure.js'
import { HOLDFAST } from '../../fixtures/lab/daemon.js'
import { Child } from '../../fixtures/lab/process.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'

function newImage(work: Workspace): string {
  return work.image('vm1.raw', 16 * 1024 * 1024)
}

const GET_FEATURES = Buffer.from('010000000100000000000000', 'hex')

t.test('a listening socket: front ends come and go', async (t) => {
  const work = new Workspace('listen')
  t.teardown(() => work.close())
  const fd = native.listenUnix(work.file('s'), 4)
  const daemon = new Child(HOLDFAST, ['blk', '--fd', '3', '--blk-file', newImage(work)], work.file('log'), { stdio: [fd] })
  closeSync(fd)
  for (let i = 0; i < 2; i++) {
    const client = await VhostClient.connect(work.file('s'))
    t.equal(await client.submit({ kind: 'write', lbaSectors: i, lengthSectors: 1, bufferOffset: 0 }), 0)
    await client.close()
  }
  t.equal(daemon.exit, null, 'it goes on listening')
  t.equal(await daemon.stop(), 0)
})

t.test('a connected socket: one front end, and the end with it', async (t) => {
  const work = new Workspace('pair')
  t.teardown(() => work.close())
  const [ours, theirs] = native.socketPair()
  const daemon = new Child(HOLDFAST, ['blk', '--fd', '3', '--blk-file', newImage(work)], work.file('log'), { stdio: [theirs] })
  closeSync(theirs)
  t.equal(native.sendMessage(ours, GET_FEATURES, 0, GET_FEATURES.length, new Int32Array(8), 0), GET_FEATURES.length)
  const reply = new Uint8Array(64)
  native.setNonBlocking(ours)
  const bytes = await until('an answer', 5000, () => {
    const n = native.recvMessage(ours, reply, 0, reply.length, new Int32Array(9))
    return n > 0 ? n : null
  })
  t.equal(bytes, 20)
  t.equal(reply[0], 1, 'the answer to GET_FEATURES')
  closeSync(ours)
  t.equal(await daemon.waitExit(5000), 0, 'the front end left, nothing is left to do')
})

t.test('a descriptor that is no socket, and none at all', async (t) => {
  const work = new Workspace('nofd')
  t.teardown(() => work.close())
  const image = newImage(work)
  for (const [fd, sentence] of [['0', /^holdfast: descriptor 0 cannot be served: .*non-socket/m], ['77', /^holdfast: descriptor 77 cannot be served: .*Bad file descriptor/m]] as const) {
    const daemon = new Child(HOLDFAST, ['blk', '--fd', fd, '--blk-file', image], work.file(`log-${fd}`))
    t.equal(await daemon.waitExit(5000), EXIT.usage)
    t.match(daemon.output, sentence)
  }
})
