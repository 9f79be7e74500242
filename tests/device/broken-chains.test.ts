/** Chains that a driver must not build, and odd ones that it may: what breaks a queue, what ends one request, what is served. */
import t, { type Test } from 'tap'
import { native } from 'vhost-user-ts-bindings'
import { VhostClient } from '../../lib/client/front-end.js'
import { ringFdPayload } from '../../lib/client/payloads.js'
import { MESSAGE } from '../../lib/vhost/protocol.js'
import { startBlk } from '../../fixtures/lab/daemon.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'

const NEXT = 1, WRITE = 2, INDIRECT = 4
const RING = 16
const HEADER_BYTES = 16
/** Places in the client's buffer: header, data, status and an indirect table. */
const HEADER_AT = 0, STATUS_AT = 64, TABLE_AT = 1024, DATA_AT = 4096
const UNWRITTEN = 0xee
const OUTSIDE = 0x7000_0000_0000

type Descriptor = readonly [address: number, bytes: number, flags: number, next?: number]

async function serve(t: Test): Promise<string> {
  const work = new Workspace('chains')
  t.teardown(() => work.close())
  const image = work.image('vm1.raw', 16 * 1024 * 1024)
  await startBlk(work, 'blk', ['--socket-path', work.file('s'), '--blk-file', image])
  return work.file('s')
}

/** A driver of one request, built by hand. */
class Driver {
  readonly client: VhostClient
  readonly #errors = native.eventfd(0)
  constructor(client: VhostClient) { this.client = client }

  static async connect(socket: string): Promise<Driver> {
    const driver = new Driver(await VhostClient.connect(socket, { queueSize: RING }))
    await driver.client.channel.acknowledge(MESSAGE.setVringErr, ringFdPayload(0, true), [driver.#errors])
    // Completions of what this client did not submit are not for its ring.
    driver.client.rings[0]!.stop()
    const { buffer } = driver.client
    buffer[STATUS_AT] = UNWRITTEN
    // Type 1 is a write: one header apart, one right before the data.
    for (const at of [HEADER_AT, DATA_AT - HEADER_BYTES]) new DataView(buffer.buffer, buffer.byteOffset).setUint32(at, 1, true)
    return driver
  }

  at(offset: number): number { return this.client.memory.guestAddress + this.client.buffer.byteOffset + offset }
  get status(): number { return this.client.buffer[STATUS_AT]! }
  get used(): number { return this.client.memory.view.getUint16(this.client.rings[0]!.usedAt + 2, true) }

  table(where: number, chain: readonly Descriptor[]): void {
    const { view } = this.client.memory
    chain.forEach(([address, bytes, flags, next = 0], i) => {
      view.setBigUint64(where + i * 16, BigInt(address), true)
      view.setUint32(where + i * 16 + 8, bytes, true)
      view.setUint16(where + i * 16 + 12, flags, true)
      view.setUint16(where + i * 16 + 14, next, true)
    })
  }

  offer(chain: readonly Descriptor[], availIndex = 1, head = 0): void {
    const ring = this.client.rings[0]!, { view } = this.client.memory
    this.table(ring.descAt, chain)
    view.setUint16(ring.availAt + 4, head, true)
    view.setUint16(ring.availAt + 2, availIndex, true)
    native.eventfdSignal(ring.kickFd)
  }

  async outcome(): Promise<'broken' | number> {
    const outcome = await until('an answer', 3000, () => {
      if (native.eventfdDrain(this.#errors) > 0) return { broken: true }
      return this.used === 1 ? { broken: false } : null
    })
    return outcome.broken ? 'broken' : this.status
  }

  end(): void {
    this.client.abort()
    native.closeFd(this.#errors)
  }
}

t.test('chains', async (t) => {
  const socket = await serve(t)
  const header = (d: Driver, next: number): Descriptor => [d.at(HEADER_AT), 16, NEXT, next]
  const data = (d: Driver, next: number): Descriptor => [d.at(DATA_AT), 512, NEXT, next]
  const status = (d: Driver): Descriptor => [d.at(STATUS_AT), 1, WRITE]
  const indirect = (d: Driver, chain: readonly Descriptor[]): Descriptor[] => {
    d.table(d.client.buffer.byteOffset + TABLE_AT, chain)
    return [[d.at(TABLE_AT), chain.length * 16, INDIRECT]]
  }
  const cases: readonly [string, 'broken' | number, (d: Driver) => void][] = [
    ['a plain write', 0, (d) => d.offer([header(d, 1), data(d, 2), status(d)])],
    ['a header in two pieces', 0, (d) => d.offer([[d.at(HEADER_AT), 4, NEXT, 1], [d.at(HEADER_AT + 4), 12, NEXT, 2], data(d, 3), status(d)])],
    ['header and data in one piece', 0, (d) => d.offer([[d.at(DATA_AT - HEADER_BYTES), HEADER_BYTES + 512, NEXT, 1], status(d)])],
    ['an indirect table', 0, (d) => d.offer(indirect(d, [header(d, 1), data(d, 2), status(d)]))],
    ['an indirect table that is longer than the ring', 0, (d) => d.offer(indirect(d, [
      header(d, 1), ...Array.from({ length: 32 }, (_, i): Descriptor => [d.at(DATA_AT + i * 512), 512, NEXT, i + 2]), status(d),
    ]))],
    ['an unknown type', 2, (d) => { d.client.buffer[HEADER_AT] = 99; d.offer([header(d, 1), data(d, 2), status(d)]) }],
    ['half a sector', 1, (d) => d.offer([header(d, 1), [d.at(DATA_AT), 256, NEXT, 2], status(d)])],
    ['data outside the memory', 1, (d) => d.offer([header(d, 1), [OUTSIDE, 512, NEXT, 2], status(d)])],
    ['a status outside the memory', 'broken', (d) => d.offer([header(d, 1), data(d, 2), [OUTSIDE, 1, WRITE]])],
    ['a loop', 'broken', (d) => d.offer([header(d, 1), data(d, 1)])],
    ['a next beyond the ring', 'broken', (d) => d.offer([header(d, RING)])],
    ['a head beyond the ring', 'broken', (d) => d.offer([header(d, 1), data(d, 2), status(d)], 1, RING)],
    ['no place for the status', 'broken', (d) => d.offer([header(d, 1), [d.at(DATA_AT), 512, 0]])],
    ['a short header', 'broken', (d) => d.offer([[d.at(HEADER_AT), 8, NEXT, 1], status(d)])],
    ['a readable piece after a writable one', 'broken', (d) => d.offer([
      header(d, 1), [d.at(STATUS_AT), 1, WRITE | NEXT, 2], [d.at(DATA_AT), 512, 0],
    ])],
    ['an indirect table in an indirect table', 'broken', (d) => d.offer(indirect(d, indirect(d, [status(d)])))],
    ['an indirect table of 24 bytes', 'broken', (d) => d.offer([[d.at(TABLE_AT), 24, INDIRECT]])],
    ['an indirect table outside the memory', 'broken', (d) => d.offer([[OUTSIDE, 48, INDIRECT]])],
    ['more chains than the ring has entries', 'broken', (d) => d.offer([header(d, 1), data(d, 2), status(d)], RING + 1)],
  ]
  for (const [what, expected, offer] of cases) {
    const driver = await Driver.connect(socket)
    offer(driver)
    t.equal(await driver.outcome(), expected, what)
    driver.end()
  }
  const client = await VhostClient.connect(socket)
  t.equal(await client.submit({ kind: 'write', lbaSectors: 0, lengthSectors: 8, bufferOffset: 0 }), 0, 'the device serves the next one')
  await client.close()
})
