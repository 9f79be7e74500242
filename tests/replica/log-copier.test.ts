/** Sealed logs copied from another region: whole or not at all, whatever comes between. */
import t, { type Test } from 'tap'
import type { InheritedLog } from '../../lib/core/claim.js'
import { epoch, won, type Won } from '../../lib/core/units.js'
import { limits } from '../../lib/limits.js'
import type { DialedPeer, RawAnswer, Request } from '../../lib/ports/peer.js'
import { LogCopier, type CopyShell } from '../../lib/replica/log-copier.js'
import { RecordSource } from '../../lib/replica/record-source.js'
import { until } from '../../fixtures/lab/workspace.js'
import { RecordMaker, ReplicaLab, VOLUME, type Made } from './lab.js'

const RECORDS = 12
/** A record of two thirds of a mebibyte: a piece has one of them, a segment two. */
const LARGE = 1400

/** Two regions: one that has a sealed log of epoch 1, and one that copies it. */
class Pair {
  readonly from: ReplicaLab
  readonly to: ReplicaLab
  readonly warnings: string[] = []
  readonly asked: Request[] = []
  /** What the holder's answers are made of the true ones; null: no answer. */
  between: (answer: RawAnswer, after: Won) => RawAnswer | Promise<RawAnswer> = (answer) => answer
  records: Made[] = []
  log!: InheritedLog
  copier!: LogCopier

  private constructor(from: ReplicaLab, to: ReplicaLab) { this.from = from; this.to = to }

  static async create(t: Test, kept = RECORDS, segments = 12): Promise<Pair> {
    const pair = new Pair(await ReplicaLab.create(t, 16), await ReplicaLab.create(t, segments))
    await pair.fill(kept)
    pair.copier = new LogCopier(pair.shell)
    return pair
  }

  async fill(kept: number): Promise<void> {
    const { from } = this, maker = new RecordMaker(from.claim(1), true)
    from.push({ type: 'open', claim: maker.claim })
    for (let i = 0; i < RECORDS; i++) {
      const made = maker.next({ lba: i * LARGE, sectors: LARGE, fill: i + 1 }, { lba: 100_000 + i, sectors: 1, zero: true })
      this.records.push(made)
      from.append(made, 1)
    }
    await from.acked(RECORDS)
    await from.holder.seal(VOLUME, epoch(1))
    this.log = { epoch: epoch(1), start: won(0), kept, holders: [from.holder.self] }
  }

  get shell(): CopyShell {
    const source = new RecordSource(this.from.holder), { self } = this.from.holder
    const peer: DialedPeer = {
      ...self, acknowledge: () => undefined,
      request: (request) => new Promise<RawAnswer>((resolve) => {
        this.asked.push(request)
        if (request.type !== 'records') throw new Error(`asked for ${request.type}`)
        // As over a network: bytes of their own, in another turn.
        source.answer(request, (message, raw) => {
          const bytes = Buffer.concat(raw ?? [])
          setImmediate(() => { void Promise.resolve(this.between({ message, raw: bytes }, request.after)).then(resolve) })
        })
      }),
    }
    return { holder: this.to.holder, dialed: (host) => host === self.host ? peer : undefined, info: () => undefined, warn: (message) => this.warnings.push(message) }
  }

  get wanted() { return { volume: VOLUME, log: this.log } }
  begin(): void { this.copier.look([this.wanted]) }
  idle(): Promise<unknown> { return until('the copier to rest', 10_000, () => !this.copier.copying(VOLUME, 1)) }
  async copy(): Promise<void> { this.begin(); await this.idle() }

  /** The copy as its next reader sees it. */
  async contents(): Promise<Buffer> {
    await this.to.holder.seal(VOLUME, epoch(2))
    const parts: Buffer[] = []
    for (let i = 0; i < this.log.kept; i++) parts.push((await this.to.read(epoch(1), this.log.kept, i * LARGE, LARGE)).raw)
    return Buffer.concat(parts)
  }
}
const expected = (kept: number): Buffer => Buffer.concat(Array.from({ length: kept }, (_, i) => Buffer.alloc(LARGE * 512, i + 1)))
const heldBy = (lab: ReplicaLab): number | undefined => lab.holder.log(VOLUME, epoch(1))?.storedLength

t.test('a copy is a log: the same records, read, sealed and recovered like any other', async (t) => {
  const pair = await Pair.create(t, RECORDS - 2)
  await pair.copy()
  t.same(pair.warnings, [])
  t.equal(heldBy(pair.to), RECORDS - 2, 'what is kept and no more')
  t.ok((await pair.contents()).equals(expected(RECORDS - 2)))
  t.same((await pair.to.holder.seal(VOLUME, epoch(2))).older, [{ epoch: 1, length: RECORDS - 2 }])
  await pair.to.restart()
  t.equal(heldBy(pair.to), RECORDS - 2)
  t.ok((await pair.contents()).equals(expected(RECORDS - 2)), 'and after a restart')
  await pair.to.holder.log(VOLUME, epoch(1))!.verify(won(0), won(RECORDS - 2))
  const asked = pair.asked.length
  await pair.copy()
  t.equal(pair.asked.length, asked, 'what is here is not asked for')
})

t.test('what is on the backing is not copied', async (t) => {
  const pair = await Pair.create(t)
  await pair.from.holder.trim(VOLUME, won(5))
  await pair.copy()
  t.match(pair.warnings, [/the backing has it, which this host has not heard of yet/])
  t.equal(heldBy(pair.to), undefined)
  await pair.to.holder.trim(VOLUME, won(7))
  pair.copier = new LogCopier(pair.shell)
  await pair.copy()
  t.match(pair.asked.at(-RECORDS + 7), { after: 7 })
  t.equal(heldBy(pair.to), RECORDS)
  t.ok((await pair.contents()).equals(expected(RECORDS).subarray(7 * LARGE * 512)))
  await pair.to.restart()
  t.equal(heldBy(pair.to), RECORDS)
  t.ok((await pair.contents()).equals(expected(RECORDS).subarray(7 * LARGE * 512)))
})

t.test('a base that passes it ends it', async (t) => {
  const pair = await Pair.create(t)
  pair.between = async (answer, after) => {
    if (after === 3) await pair.to.holder.trim(VOLUME, won(RECORDS))
    return answer
  }
  await pair.copy()
  t.same(pair.warnings, [])
  t.equal(heldBy(pair.to), undefined)
  t.equal(pair.asked.at(-1)!.type === 'records' && pair.asked.length, 4)
})

t.test('a claim that leaves it to others ends it, one that does not lets it go on', async (t) => {
  const pair = await Pair.create(t), gone = pair.log
  pair.between = async (answer, after) => {
    const claim = pair.to.claim(2, { start: won(RECORDS), inherited: [gone] })
    if (after === 3) pair.to.push({ type: 'claimChanged', claim: { ...claim, set: [claim.owner] } })
    return answer
  }
  await pair.copy()
  t.equal(heldBy(pair.to), undefined)
  t.same(pair.warnings, [])
})

t.test('anything that is not the next record of the very log is refused, and nothing of the copy is left', async (t) => {
  const pair = await Pair.create(t)
  const at = (record: number, change: (bytes: Buffer) => Buffer) => (answer: RawAnswer, after: Won): RawAnswer =>
    after === record ? { ...answer, raw: change(Buffer.from(answer.raw)) } : answer
  const other = new RecordMaker(pair.from.claim(1))
  for (let i = 0; i < 4; i++) other.next({ lba: 0, sectors: 8, fill: 9 })
  const foreign = other.next({ lba: 0, sectors: 8, fill: 9 }).bytes
  for (const [name, change, why] of [
    ['a flipped bit of data', (bytes: Buffer) => { bytes[8000]! ^= 1; return bytes }, /a payload does not match its checksum/],
    ['a flipped bit of the header', (bytes: Buffer) => { bytes[200]! ^= 1; return bytes }, /the header does not match its checksum/],
    ['the record after the next', () => pair.records[5]!.bytes, /belongs to another log/],
    ['another log\'s', () => foreign, /belongs to another log/],
    ['half a record', (bytes: Buffer) => bytes.subarray(0, 8192), /out of range|longer or shorter/],
    ['no record', () => Buffer.alloc(4096), /no record here/],
    ['too much', () => Buffer.alloc(limits.frameBytesMax), /a piece of \d+ bytes was answered/],
    ['a header without its end', (bytes: Buffer) => bytes.subarray(0, 100), /ends within a record/],
  ] as const) {
    pair.between = at(4, change)
    pair.warnings.length = 0
    pair.copier = new LogCopier(pair.shell)
    await pair.copy()
    t.match(pair.warnings, [why], name)
    t.equal(heldBy(pair.to), undefined, `${name}: nothing is left`)
  }
  pair.between = (answer) => answer
  pair.copier = new LogCopier(pair.shell)
  await pair.copy()
  t.ok((await pair.contents()).equals(expected(RECORDS)), 'and the next one is good')
})

t.test('a region that is nearly full copies nothing, and rests before it tries again', async (t) => {
  const pair = await Pair.create(t, RECORDS, 8)
  await pair.copy()
  t.match(pair.warnings, [/the region is too full for copies/])
  t.equal(heldBy(pair.to), undefined)
  const asked = pair.asked.length
  await pair.copy()
  t.equal(pair.asked.length, asked)
  await until('its segments to be free again', 3000, () => pair.to.region.freeSegments === 8)
})

t.test('no holder: it is tried again later', async (t) => {
  const pair = await Pair.create(t)
  pair.log = { ...pair.log, holders: [{ host: 'x', incarnation: '0'.repeat(32) }, { ...pair.from.holder.self, incarnation: '1'.repeat(32) }] }
  await pair.copy()
  t.match(pair.warnings, [/none of its holders is connected/], 'nor one that was formatted anew')
})

t.test('a crash on the way: the copy is short, is named by nobody, and the next claim removes it', async (t) => {
  const pair = await Pair.create(t)
  pair.between = (answer, after) => after === 6 ? new Promise(() => undefined) : answer
  pair.begin()
  await until('half of it', 5000, () => heldBy(pair.to) === 6)
  await pair.to.restart()
  t.equal(heldBy(pair.to), 6)
  t.same((await pair.to.holder.seal(VOLUME, epoch(2))).older, [{ epoch: 1, length: 6 }], 'and it says how short')
  t.match((await pair.to.read(epoch(1), RECORDS, 0, 8)).message, { type: 'problem', reason: /only 6 of 12/ })
  const claim = pair.to.claim(2, { start: won(RECORDS), inherited: [pair.log] })
  pair.to.push({ type: 'claimChanged', claim })
  t.equal(heldBy(pair.to), 6, 'a claim at which it was sealed is history: another may name it already')
  pair.to.push({ type: 'claimChanged', claim: { ...claim, epoch: epoch(3) } })
  t.equal(heldBy(pair.to), undefined)
  pair.between = (answer) => answer
  pair.copier = new LogCopier(pair.shell)
  await pair.copy()
  t.ok((await pair.contents()).equals(expected(RECORDS)))
})

t.test('begun anew where the copy before it was, and cut off: newer records of the log there are no damage', async (t) => {
  const pair = await Pair.create(t, RECORDS, 11)
  for (let i = 0; i < 2; i++) {
    await pair.copy()
    t.equal(heldBy(pair.to), RECORDS)
    pair.to.holder.drop(pair.to.holder.log(VOLUME, epoch(1))!)
    await until('its segments to be free', 3000, () => pair.to.region.freeSegments === 11)
  }
  pair.between = (answer, after) => after === 1 ? new Promise(() => undefined) : answer
  pair.begin()
  await until('a record of it', 5000, () => heldBy(pair.to) === 1)
  await pair.to.restart()
  t.equal(heldBy(pair.to), 1, 'the region opens')
})
