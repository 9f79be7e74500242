/** Who may connect: mutual TLS, a certificate that names the host, and a hello that says the same. */
import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { limits } from '../../lib/limits.js'
import type { TlsFiles } from '../../lib/peer/network.js'
import { Workspace, sleep, until } from '../../fixtures/lab/workspace.js'
import { Street, ack, append, hello, issue, sealRequest } from './lab.js'

const work = new Workspace('ident')
t.teardown(() => work.close())
const ours = await issue(work, 'ours', ['a', 'b', 'c'])
const theirs = await issue(work, 'theirs', ['b'])
const SETTLED_MS = 400

/** Long enough for several dials; b is not connected in either direction. */
async function stays(t: Test, street: Street, tls: TlsFiles | null, why: RegExp): Promise<void> {
  const a = await street.site('a', ['b'])
  const b = await street.site('b', ['a'], { tls })
  await until('a to say why', 5000, () => a.heard(why))
  await sleep(SETTLED_MS)
  t.equal(a.accepted('b').incarnation, null, 'not accepted')
  t.equal(a.dialed('b').incarnation, null, 'not dialed')
  t.equal(b.linked('a'), false, 'nor is the other side content with less')
  t.equal(a.changes, 0, 'and nobody was told of a peer')
}

t.test('two hosts of one cluster connect in both directions, and each message takes its way', async (t) => {
  const street = await Street.create(t, ['a', 'b'], ours)
  const a = await street.site('a', ['b']), b = await street.site('b', ['a'])
  await until('both directions', 5000, () => a.linked('b') && b.linked('a'))
  t.equal(a.dialed('b').incarnation, b.incarnation)
  t.equal(b.accepted('a').incarnation, a.incarnation)
  const raw = Uint8Array.from({ length: 12288 }, (_, i) => i % 251)
  a.answering = (_message, answer) => answer({ type: 'data', runs: [1, 24] }, [raw.subarray(0, 5000), raw.subarray(5000)])
  const answer = await b.dialed('a').request(sealRequest, 2000)
  t.strictSame(answer.message, { type: 'data', runs: [1, 24] })
  t.ok(Buffer.from(raw).equals(answer.raw), 'with the bytes of both pieces')
  t.match(a.requests, [{ from: 'b', message: sealRequest }])
  t.equal(a.accepted('b').push(append, raw), true)
  await until('the push', 2000, () => b.pushes.length === 1)
  t.match(b.pushes[0], { from: 'a', message: append })
  t.ok(Buffer.from(raw).equals(b.pushes[0]!.raw))
  b.dialed('a').acknowledge(ack)
  await until('the acknowledgement', 2000, () => a.acknowledgements.length === 1)
  t.match(a.acknowledgements, [{ from: 'b', message: ack }])
})

t.test('a certificate of another authority is refused', async (t) => {
  await stays(t, await Street.create(t, ['a', 'b'], ours), theirs.get('b')!, /b cannot be reached/)
})

t.test('a certificate that names another host than the hello is refused, whoever dials', async (t) => {
  const street = await Street.create(t, ['a', 'b'], ours)
  await stays(t, street, ours.get('c')!, /it calls itself b, its certificate says c/)
})

t.test('the host that answers must be the one that was meant', async (t) => {
  const street = await Street.create(t, ['a', 'b', 'c'], ours)
  await street.site('c', ['a'])
  const a = await street.site('a', ['b'], { ports: { b: street.ports.get('c')! } })
  await until('a to say why', 5000, () => a.heard(/the certificate there names c instead of b/))
  t.equal(a.dialed('b').incarnation, null)
})

t.test('no certificate: the connection ends before the upgrade', async (t) => {
  const street = await Street.create(t, ['a'], ours)
  const a = await street.site('a', [])
  const { ended, opened } = street.dial('a', { ca: ours.get('b')!.ca })
  t.match(await ended, /certificate required|closed|ECONNRESET|socket hang up/)
  t.equal(opened(), false)
  await until('a to note it', 2000, () => a.heard(/refused 127\.0\.0\.1: .*peer did not return a certificate/))
})

t.test('a host of the cluster that is not among the peers is refused', async (t) => {
  const street = await Street.create(t, ['a', 'c'], ours)
  const a = await street.site('a', [])
  const c = await street.site('c', ['a'])
  await until('a to say why', 5000, () => a.heard(/c is not among the configured peers/))
  await sleep(limits.dialRetryMaxMs)
  t.equal(a.changes, 0)
  const dials = a.said.filter((text) => /not among the configured peers/.test(text)).length
  t.ok(dials > 1 && dials <= 8, `${dials} dials: it tries again with pauses that grow`)
  // It heard our hello before it was refused; what counts is that nothing it sends is handled.
  await t.rejects(c.dialed('a').request(sealRequest, 300))
  t.equal(a.requests.length, 0)
})

t.test('a peer of another protocol, or one that does not begin with a hello, is refused', async (t) => {
  const street = await Street.create(t, ['a', 'b'], ours)
  const a = await street.site('a', ['b'])
  const cases: readonly (readonly [Buffer, boolean])[] = [
    [hello('b', 'c'.repeat(32), 2), true], [hello('b', 'c'.repeat(32), 0), true], [hello('a'), true], [hello('b'), false],
    [Buffer.from('hello'), true], [Buffer.alloc(0), true],
  ]
  for (const [first, binary] of cases) {
    const { ws, ended } = street.dial('a', ours.get('b')!)
    await once(ws, 'open')
    ws.send(first, { binary })
    t.match(await ended, /closed with 1006/, `${first.toString('latin1', 0, 20)}`)
    t.equal(a.accepted('b').incarnation, null)
  }
  t.ok(a.heard(/it speaks protocol 2, this release 1/))
  const { ws } = street.dial('a', ours.get('b')!)
  await once(ws, 'open')
  ws.send(hello('b', 'd'.repeat(32)))
  await until('a good hello to be taken', 2000, () => a.accepted('b').incarnation === 'd'.repeat(32))
})

t.test('a second connection of the same host replaces the first', async (t) => {
  const street = await Street.create(t, ['a', 'b'], ours)
  const a = await street.site('a', ['b'])
  const [first, second] = [street.dial('a', ours.get('b')!), street.dial('a', ours.get('b')!)]
  await Promise.all([once(first.ws, 'open'), once(second.ws, 'open')])
  first.ws.send(hello('b', '1'.repeat(32)))
  await until('the first', 2000, () => a.accepted('b').incarnation === '1'.repeat(32))
  second.ws.send(hello('b', '2'.repeat(32)))
  t.match(await first.ended, /closed/)
  await sleep(50)
  t.equal(a.accepted('b').incarnation, '2'.repeat(32), 'the end of the first does not end the second')
  t.equal(a.accepted('b').push(append), true)
})

t.test('a plain request gets an answer that says what is missing; a connection that says nothing is not kept', async (t) => {
  const plain = await Street.create(t, ['a'], null)
  await plain.site('a', [])
  const status = await new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port: plain.ports.get('a')! }, (response) => resolve(response.statusCode)).on('error', reject).end()
  })
  t.equal(status, 426)
  const street = await Street.create(t, ['a'], ours)
  await street.site('a', [])
  const late = sleep(limits.handshakeTimeoutMs + 3000).then(() => false)
  await Promise.all([plain, street].map(async ({ ports }, i) => {
    const socket = connect(ports.get('a')!, '127.0.0.1')
    socket.on('error', () => undefined)
    t.teardown(() => socket.destroy())
    socket.resume()
    const closed = new Promise<true>((resolve) => socket.on('close', () => resolve(true)))
    t.equal(await Promise.race([closed, late]), true, i === 0 ? 'without a request' : 'without a TLS handshake')
  }))
})
