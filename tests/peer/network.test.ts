/** Connections that break, stall, flood or come back. Without TLS, which changes nothing of it. */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { limits } from '../../lib/limits.js'
import { encodeFrame } from '../../lib/peer/frame.js'
import { sleep, until } from '../../fixtures/lab/workspace.js'
import { Street, ack, append, hello, proxy, sealRequest } from './lab.js'

const unreachable = { name: 'Failure', exitCode: EXIT.unreachable }
const MIB = 1024 * 1024

t.test('a peer that comes back with another region is another member', async (t) => {
  const street = await Street.create(t, ['a', 'b'], null)
  const a = await street.site('a', ['b']), b = await street.site('b', ['a'])
  await until('the first connection', 5000, () => a.linked('b') && b.linked('a'))
  const before = a.dialed('b').incarnation
  await b.network.stop()
  await until('a to notice', 2000, () => a.dialed('b').incarnation === null && a.accepted('b').incarnation === null)
  t.equal(a.accepted('b').push(append), false, 'a push to nobody is not taken')
  await t.rejects(a.dialed('b').request(sealRequest, 1000), { ...unreachable, message: /b is not connected/ })
  const again = await street.site('b', ['a'])
  await until('the second connection', 5000, () => a.linked('b') && again.linked('a'))
  t.equal(a.dialed('b').incarnation, again.incarnation)
  t.not(again.incarnation, before)
})

t.test('a request ends with a failure when its answer is late or its connection breaks', async (t) => {
  const street = await Street.create(t, ['a', 'b'], null)
  const a = await street.site('a', ['b']), b = await street.site('b', ['a'])
  await until('the connection', 5000, () => a.linked('b'))
  const late: (() => void)[] = []
  b.answering = (_message, answer) => { late.push(() => answer({ type: 'problem', reason: 'too late' })) }
  await t.rejects(a.dialed('b').request(sealRequest, 100), { ...unreachable, message: /b did not answer seal within 100 ms/ })
  b.answering = (_message, answer) => {
    for (const send of late.splice(0)) send()
    answer({ type: 'problem', reason: 'in time' })
  }
  t.match(await a.dialed('b').request(sealRequest, 1000), { message: { reason: 'in time' } }, 'a late answer is not taken for the next one')
  b.answering = () => undefined
  const open = [a.dialed('b').request(sealRequest, 20_000), a.dialed('b').request(sealRequest, 20_000)]
  await until('both to arrive', 2000, () => b.requests.length >= 4)
  const failed = Promise.all(open.map((request) => t.rejects(request, { ...unreachable, message: /the connection to b broke/ })))
  await b.network.stop()
  await failed
})

t.test('more open requests than a connection may have fail at once', async (t) => {
  const street = await Street.create(t, ['a', 'b'], null)
  const a = await street.site('a', ['b']), b = await street.site('b', ['a'])
  await until('the connection', 5000, () => a.linked('b'))
  b.answering = () => undefined
  const open = Array.from({ length: limits.requestsInFlightMax }, () => a.dialed('b').request(sealRequest, 500))
  await t.rejects(a.dialed('b').request(sealRequest, 500), { ...unreachable, message: /owes 256 answers already/ })
  const outcomes = await Promise.allSettled(open)
  t.ok(outcomes.every((o) => o.status === 'rejected'), 'and the others at their own time')
  b.answering = (_message, answer) => answer({ type: 'problem', reason: 'here' })
  t.match(await a.dialed('b').request(sealRequest, 1000), { message: { reason: 'here' } }, 'which then do not count any more')
})

t.test('a message in the wrong direction, a text, or a frame larger than any ends the connection', async (t) => {
  const street = await Street.create(t, ['a', 'b'], null)
  const a = await street.site('a', ['b'])
  const cases: readonly (readonly [string, Buffer | string, RegExp])[] = [
    ['a push from the dialer', encodeFrame(0, append), /append on this connection/],
    ['an answer from the dialer', encodeFrame(1, { type: 'problem', reason: '' }), /problem on this connection/],
    ['a second hello', hello('b'), /hello on this connection/],
    ['a text', 'hello', /a text message/],
    ['no frame', Buffer.from([9, 0, 0, 0, 0xc1]), /longer than its frame/],
    ['a frame of more than 2 MiB', Buffer.alloc(limits.frameBytesMax + 1), /Max payload size exceeded/],
  ]
  for (const [name, bytes, reason] of cases) {
    const { ws, ended } = street.dial('a')
    await once(ws, 'open')
    ws.send(hello('b'))
    await until('the hello', 2000, () => a.accepted('b').incarnation !== null)
    a.said.length = 0
    ws.send(bytes)
    await ended
    await until(`the end after ${name}`, 2000, () => a.accepted('b').incarnation === null)
    t.ok(a.heard(reason), `${name}: ${a.said.join()}`)
  }
  t.equal(a.acknowledgements.length + a.requests.length, 0, 'nothing of it was handled')
  const { ws } = street.dial('a')
  await once(ws, 'open')
  ws.send(hello('b'))
  ws.send(Buffer.concat([encodeFrame(0, ack), Buffer.alloc(limits.frameBytesMax - 200)]))
  await until('the largest frame', 2000, () => a.acknowledgements.length === 1)
})

t.test('a peer that goes silent is dropped within the idle limit, and so are its open requests (H38)', { timeout: 30_000 }, async (t) => {
  const street = await Street.create(t, ['a', 'b'], null)
  const b = await street.site('b', ['a'])
  const between = await proxy(t, street.ports.get('b')!)
  const a = await street.site('a', ['b'], { ports: { b: between.port } })
  await until('the connection', 5000, () => a.linked('b') && b.linked('a'))
  await sleep(limits.peerIdleMs + 1000)
  t.equal(a.linked('b') && b.linked('a'), true, 'an idle connection stays: both sides answer')
  between.hold()
  const started = performance.now()
  b.answering = () => undefined
  await Promise.all([
    t.rejects(a.dialed('b').request(sealRequest, 60_000), { ...unreachable, message: /the connection to b broke/ }),
    until('b to drop a as well', limits.peerIdleMs + 1000, () => b.accepted('a').incarnation === null),
  ])
  const took = performance.now() - started
  t.ok(took <= limits.peerIdleMs + 1000, `${Math.round(took)} ms`)
  t.ok(took > 500, 'and not at once')
  t.ok(a.heard(/lost b: silent for/), a.said.join())
  t.not(a.accepted('b').incarnation, null, 'the other connection, which is not silent, stays')
})

t.test('a peer that does not read is dropped before its backlog passes the window', async (t) => {
  const street = await Street.create(t, ['a', 'b'], null)
  const a = await street.site('a', ['b'])
  const { ws, ended } = street.dial('a')
  await once(ws, 'open')
  ws.send(hello('b'))
  await until('the hello', 2000, () => a.accepted('b').incarnation !== null)
  ws.pause()
  const record = new Uint8Array(MIB)
  let sent = 0
  while (sent < 4 * limits.peerWindowBytes && a.accepted('b').push(append, record)) {
    sent += record.length
    if (sent % (8 * MIB) === 0) await sleep(1)
  }
  // What the kernel takes from a socket comes on top of the window; on loopback it is a few MiB.
  t.ok(sent > limits.peerWindowBytes && sent < limits.peerWindowBytes + 16 * MIB, `${sent / MIB} MiB were taken`)
  await until('the end', 2000, () => a.accepted('b').incarnation === null)
  t.ok(a.heard(/it does not read what it is sent/))
  ws.resume()
  await ended
})

t.test('a network stops at once, whatever is connected to it or being dialed', async (t) => {
  const street = await Street.create(t, ['a', 'b'], null)
  // It takes connections and never answers them.
  const mute = createServer()
  const dialed = once(mute, 'connection') as Promise<[Socket]>
  mute.listen(street.ports.get('b')!, '127.0.0.1')
  t.teardown(() => mute.close())
  const a = await street.site('a', ['b'])
  const silent = street.dial('a')
  await once(silent.ws, 'open')
  const [dial] = await dialed
  t.teardown(() => dial.destroy())
  dial.resume()
  const givenUp = once(dial, 'close').then(() => true)
  const late = sleep(2000).then(() => false)
  t.equal(await Promise.race([a.network.stop().then(() => true), late]), true, 'although one connection never said who it is')
  t.equal(await Promise.race([givenUp, late]), true, 'the dial was given up')
  t.equal(await Promise.race([silent.ended.then(() => true), late]), true, 'and the silent connection is closed')
  t.strictSame(a.said, [], 'a stop is nobody\'s fault')
})
