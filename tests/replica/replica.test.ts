/** A replica: stores what is the next whole record of an epoch that may be stored here, and says so when it is. */
import t from 'tap'
import { epoch, won } from '../../lib/core/units.js'
import { sleep, until } from '../../fixtures/lab/workspace.js'
import { MIB, OwnerPeer, RecordMaker, ReplicaLab, VOLUME } from './lab.js'

t.test('an open is answered with the start, then each record when it is stored, in order', async (t) => {
  const lab = await ReplicaLab.create(t)
  const maker = new RecordMaker(lab.claim(1, { start: won(40) }))
  lab.push({ type: 'open', claim: maker.claim })
  t.same(lab.owner.acked, [40])
  const made = Array.from({ length: 20 }, (_, i) => maker.next({ lba: i * 8, sectors: i + 1, fill: i + 1 }))
  for (const record of made) lab.append(record, 1)
  t.same(lab.owner.acked, [40], 'nothing is acknowledged before the region has it')
  await lab.acked(60)
  t.same(lab.owner.acked, [...lab.owner.acked].sort((a, b) => a - b), 'never backwards')
  t.equal(lab.holder.log(VOLUME, epoch(1))!.storedLength, 20)
  await lab.restart()
  t.equal(lab.holder.log(VOLUME, epoch(1))!.storedLength, 20, 'it was really there')
  const again = await lab.answerTo(() => lab.push({ type: 'open', claim: maker.claim }))
  t.match(again, { type: 'ack', epoch: 1, won: 60 }, 'after a restart the answer to an open says how far it is')
  lab.append(maker.next({ lba: 0, sectors: 8, fill: 9 }), 1)
  await lab.acked(61)
  t.same(lab.owner.refusals, [])
})

t.test('an epoch is opened only by its owner, for this very incarnation, above what is sealed (R3, R5)', async (t) => {
  const lab = await ReplicaLab.create(t)
  const owner = { host: 'a', incarnation: 'a'.repeat(32) }, reformatted = { host: 'r', incarnation: '0'.repeat(32) }
  const open = (claim = lab.claim(1), peer = lab.owner): void => lab.push({ type: 'open', claim }, undefined, peer)
  const refused = async (act: () => void, reason: RegExp): Promise<void> => {
    const answer = await lab.answerTo(act)
    t.match(answer, { type: 'refused', reason })
  }
  await refused(() => open(lab.claim(1, { owner: reformatted, set: [reformatted, lab.holder.self] })), /the claim names r as its owner/)
  await refused(() => open(lab.claim(1, { owner: { ...owner, incarnation: 'e'.repeat(32) } })), /the claim names a as its owner/)
  await refused(() => open(lab.claim(1, { set: [owner, reformatted] })), /is not a member of epoch 1/)
  t.equal(lab.region.logs(VOLUME).length, 0, 'and no log was made')
  const stranger = new OwnerPeer('b', 'b'.repeat(32))
  open(lab.claim(1), stranger)
  t.match(stranger.refusals, [/the claim names a as its owner/])
  const claim = lab.claim(2)
  open(claim)
  t.equal(lab.owner.heard.at(-1)!.type, 'ack')
  await refused(() => open({ ...claim, nonce: 'f'.repeat(32) }), /another nonce/)
  await lab.holder.seal(VOLUME, epoch(2))
  await refused(() => open(claim), /epoch 2 is sealed here/)
  await refused(() => open(lab.claim(1)), /epoch 1 is sealed here/)
  await lab.restart()
  await refused(() => open(lab.claim(2)), /epoch 2 is sealed here \(sealed up to 2\)/)
})

t.test('what is not the next whole record of this log is refused, and nothing of it is kept', async (t) => {
  const lab = await ReplicaLab.create(t)
  const claim = lab.claim(1), maker = new RecordMaker(claim)
  const first = maker.next({ lba: 0, sectors: 8, fill: 1 }), second = maker.next({ lba: 8, sectors: 8, fill: 2 })
  const third = maker.next({ lba: 16, sectors: 8, fill: 3 })
  t.match(await lab.answerTo(() => lab.append(first, 1)), { type: 'refused', reason: /not opened here/ })
  lab.push({ type: 'open', claim })
  const flipped = (bytes: Buffer, at: number): Buffer => {
    const copy = Buffer.from(bytes)
    copy[at]! ^= 1
    return copy
  }
  const other = (change: Parameters<ReplicaLab['claim']>[1], number = 1): Buffer =>
    new RecordMaker(lab.claim(number, change)).next({ lba: 0, sectors: 8 }).bytes
  const bad: readonly (readonly [string, RegExp, Buffer])[] = [
    ['a damaged payload', /payload does not match/, flipped(first.bytes, 4096 + 77)],
    ['a damaged header', /does not match its checksum/, flipped(first.bytes, 60)],
    ['no record', /no record here/, Buffer.alloc(8192)],
    ['nothing', /0 bytes is out of range/, Buffer.alloc(0)],
    ['less than a header', /512 bytes is out of range/, first.bytes.subarray(0, 512)],
    ['a record that is cut off', /longer or shorter than its frame/, first.bytes.subarray(0, 4096)],
    ['a record with more behind it', /longer or shorter than its frame/, Buffer.concat([first.bytes, Buffer.alloc(4096)])],
    ['more than a record can be', /out of range/, Buffer.concat([first.bytes, Buffer.alloc(MIB + 4096)])],
    ['another nonce', /belongs to another log/, other({})],
    ['another volume', /belongs to another log/, other({ nonce: claim.nonce, volume: VOLUME.replace('6', '7') })],
    ['another epoch', /belongs to another log/, other({ nonce: claim.nonce }, 2)],
    ['another place', /belongs to another log/, second.bytes],
  ]
  for (const [name, reason, bytes] of bad) {
    t.match(await lab.answerTo(() => lab.append(first, 1, bytes)), { type: 'refused', volume: VOLUME, epoch: 1, reason }, name)
  }
  t.match(await lab.answerTo(() => lab.append(second, 1)), { type: 'refused', reason: /record 2 does not follow 0/ }, 'a gap')
  t.match(await lab.answerTo(() => lab.append(first, 2)), { type: 'refused', reason: /not opened here/ }, 'a message of another epoch')
  t.equal(lab.region.appendedBytes, 0, 'none of it reached the disk')
  lab.append(first, 1)
  await lab.acked(1)
  const forked = new RecordMaker(claim)
  forked.next({ lba: 0, sectors: 8, fill: 99 })
  const stray = forked.next({ lba: 8, sectors: 8, fill: 98 })
  const fork = await lab.answerTo(() => lab.append(stray, 1))
  t.match(fork, { type: 'refused', reason: /does not follow the one before it/ }, 'a record of another history')
  lab.append(second, 1)
  await lab.acked(2)
  t.match(await lab.answerTo(() => lab.append(third, 1, undefined, won(9))), { type: 'refused', reason: /record 9 does not follow 2/ })
  t.equal(lab.warnings.length, lab.owner.refusals.length, 'each refusal is in the log of this host too')
})

t.test('a record that comes again is acknowledged again and stored once', async (t) => {
  const lab = await ReplicaLab.create(t)
  const maker = new RecordMaker(lab.claim(1))
  lab.push({ type: 'open', claim: maker.claim })
  const [first, second] = [maker.next({ lba: 0, sectors: 8, fill: 1 }), maker.next({ lba: 0, sectors: 8, fill: 2 })]
  for (const record of [first, first, second, first, second]) lab.append(record, 1)
  await lab.acked(2)
  t.equal(lab.owner.refusals.length, 0)
  const written = lab.region.appendedBytes, count = lab.owner.heard.length
  lab.append(first, 1)
  t.equal(lab.owner.heard.length, count + 1)
  t.match(lab.owner.heard.at(-1), { type: 'ack', won: 2 }, 'with everything that is stored')
  lab.append(second, 1)
  await lab.ring.drain()
  t.equal(lab.region.appendedBytes, written, 'and nothing is written again')
})

t.test('a seal waits for appends under way, and counts nothing that comes later (R3)', async (t) => {
  const lab = await ReplicaLab.create(t)
  const maker = new RecordMaker(lab.claim(1))
  lab.push({ type: 'open', claim: maker.claim })
  const made = Array.from({ length: 6 }, (_, i) => maker.next({ lba: i, sectors: 1, fill: i + 1 }))
  for (const record of made.slice(0, 5)) lab.append(record, 1)
  t.equal(lab.holder.log(VOLUME, epoch(1))!.storedLength, 0, 'all five are under way')
  const sealing = lab.holder.seal(VOLUME, epoch(1))
  const late = await lab.answerTo(() => lab.append(made[5]!, 1))
  t.match(late, { type: 'refused', reason: /epoch 1 is sealed here/ }, 'at once, not only when it is durable')
  t.match(await sealing, { length: 5, base: 0 })
  t.match(await lab.holder.seal(VOLUME, epoch(1)), { length: 5 }, 'sealed already: the same answer')
  lab.holder.appendStarted(VOLUME)
  let sealed = false
  const waiting = lab.holder.seal(VOLUME, epoch(1)).then(() => { sealed = true })
  await sleep(50)
  t.equal(sealed, false, 'a slow append holds it up')
  lab.holder.appendEnded(VOLUME)
  await waiting
  await lab.restart()
  t.equal(lab.holder.sealedUpTo(VOLUME), 1, 'durable')
  t.match(await lab.holder.seal(VOLUME, epoch(1)), { length: 5, base: 0 })
})

t.test('the owner of an epoch that another host seals here hears of it, the sealing host does not', async (t) => {
  const lab = await ReplicaLab.create(t)
  lab.push({ type: 'open', claim: lab.claim(3) })
  const before = lab.owner.heard.length
  lab.replica.sealed(VOLUME, epoch(2), 'c')
  lab.replica.sealed(VOLUME, epoch(3), 'a')
  t.equal(lab.owner.heard.length, before, 'neither a seal of an older epoch nor its own')
  lab.replica.sealed(VOLUME, epoch(3), 'c')
  t.match(lab.owner.heard.at(-1), { type: 'refused', epoch: 3, reason: 'sealed for c' })
})

t.test('a flush is confirmed for what is stored here, and refused for what is not', async (t) => {
  const lab = await ReplicaLab.create(t)
  const maker = new RecordMaker(lab.claim(1))
  lab.push({ type: 'open', claim: maker.claim })
  lab.append(maker.next({ lba: 0, sectors: 8 }), 1)
  await lab.acked(1)
  const flush = (at: number, number = 1) => lab.answerTo(() => lab.push({ type: 'flush', volume: VOLUME, epoch: epoch(number), won: won(at) }))
  t.match(await flush(1), { type: 'flushed', epoch: 1, won: 1 })
  t.match(await flush(2), { type: 'refused', reason: /names records that are not here/ })
  t.match(await flush(1, 2), { type: 'refused', reason: /names records that are not here/ })
})

t.test('a full region refuses, and takes records again after a trim', async (t) => {
  const lab = await ReplicaLab.create(t, 3)
  const maker = new RecordMaker(lab.claim(1))
  lab.push({ type: 'open', claim: maker.claim })
  let stored = 0
  const more = async () => {
    const made = maker.next({ lba: stored * 1024, sectors: 1024, fill: stored + 1 })
    const answer = await lab.answerTo(() => lab.append(made, 1))
    return { made, answer }
  }
  let last = await more()
  for (; last.answer.type === 'ack' && stored < 50; last = await more()) stored++
  t.ok(stored >= 5 && stored <= 9, `${stored} records of half a MiB in three segments of 2 MiB`)
  t.match(last.answer, { type: 'refused', reason: 'the region is full here' })
  lab.push({ type: 'trim', volume: VOLUME, epoch: epoch(1), base: won(stored) })
  await until('the trim', 3000, () => lab.owner.heard.at(-1)!.type === 'trimmed')
  t.match(lab.owner.heard.at(-1), { base: stored })
  lab.append(last.made, 1)
  await lab.acked(stored + 1)
  await lab.restart()
  t.equal(lab.region.volumeState(VOLUME).base, stored, 'the base is durable')
  t.equal(lab.holder.log(VOLUME, epoch(1))!.storedLength, stored + 1)
})
