/** Copies that are asked piece by piece: the one here, those of peers that say anything, and the walk over either. */
import t from 'tap'
import { EXIT, Failure } from '../../lib/core/failure.js'
import { epoch, won } from '../../lib/core/units.js'
import { limits } from '../../lib/limits.js'
import type { Answer, DialedPeer, Request, Scrub } from '../../lib/ports/peer.js'
import type { CheckedPiece, PieceStart } from '../../lib/region/scrub.js'
import { LocalCopy, Pace, RemoteCopy, scrubLog, type LogCopy, type LogReport } from '../../lib/replica/scrub.js'
import { RecordMaker, ReplicaLab, VOLUME } from './lab.js'

const quick = (signal = new AbortController().signal): Pace => new Pace(Number.MAX_SAFE_INTEGER, signal)
const piece = (over: Partial<CheckedPiece> = {}): CheckedPiece =>
  ({ next: won(10), records: 10, bytes: 81920, digest: 1, previous: 2, damage: null, base: won(0), stored: won(10), ...over })
const from = { after: won(0), to: won(10), digest: 0, previous: 0 }

/** Says what the test says, in this order. */
class Script implements LogCopy {
  readonly host = 'b'
  readonly asked: PieceStart[] = []
  readonly #answers: (CheckedPiece | Error)[]
  constructor(...answers: (CheckedPiece | Error)[]) { this.#answers = answers }
  check(_volume: string, _epoch: number, start: PieceStart): Promise<CheckedPiece> {
    this.asked.push(start)
    const answer = this.#answers.shift()!
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer)
  }
}

const walked = (copy: LogCopy, mustHave = true, base = 0, to = 10): Promise<LogReport> =>
  scrubLog(copy, { volume: VOLUME, epoch: epoch(1), after: won(0), to: won(to) }, { pace: quick(), mustHave, counts: (record) => record > base, looked: () => undefined })

t.test('the copy here answers others as it answers this host, and no more once it has stopped', async (t) => {
  const lab = await ReplicaLab.create(t), maker = new RecordMaker(lab.claim(1)), local = new LocalCopy(lab.holder)
  lab.push({ type: 'open', claim: maker.claim })
  for (let i = 0; i < 3; i++) lab.append(maker.next({ lba: i * 8, sectors: 8, fill: i }), 1)
  await lab.acked(3)
  const request: Scrub = { type: 'scrub', volume: VOLUME, epoch: epoch(1), after: won(0), to: won(3), digest: 0, previous: 0 }
  const answered = async (asked: Scrub = request): Promise<Answer> => new Promise((resolve) => void local.answer(asked, resolve))
  const { damage, ...sound } = await local.check(VOLUME, epoch(1), { ...from, to: won(3) })
  t.match({ ...sound, damage }, { records: 3, damage: null })
  t.same(await answered(), { type: 'scrubbed', ...sound, damage: [] })
  t.match(await answered({ ...request, epoch: epoch(2) }), { type: 'scrubbed', records: 0, stored: 0 })
  await local.stop()
  t.match(await answered(), { type: 'problem', reason: 'r stops' })
})

t.test('what a peer says is taken as it is meant, or not at all', async (t) => {
  const asked: Request[] = []
  const remote = (answer: Answer | Error): RemoteCopy => new RemoteCopy('b', () => ({
    host: 'b', incarnation: 'b', acknowledge: () => undefined,
    request: (message: Request) => { asked.push(message); return answer instanceof Error ? Promise.reject(answer) : Promise.resolve({ message: answer, raw: new Uint8Array(0) }) },
  } satisfies DialedPeer))
  const check = (copy: LogCopy): Promise<CheckedPiece> => copy.check(VOLUME, epoch(3), { ...from, after: won(4) })
  const said = { type: 'scrubbed', ...piece() } as const
  t.match(await check(remote({ ...said, damage: [] })), { next: 10, damage: null })
  t.same(asked[0], { type: 'scrub', volume: VOLUME, epoch: 3, after: 4, to: 10, digest: 0, previous: 0 })
  t.match(await check(remote({ ...said, damage: [{ record: won(5), offsetBytes: 8192, what: 'x' }] })), { damage: { record: 5, offsetBytes: 8192 } })
  t.match(await check(remote({ ...said, damage: [{ record: won(5), offsetBytes: 0, what: 'x' }] })), { damage: { record: 5, offsetBytes: null } })
  await t.rejects(check(remote({ ...said, next: won(3), damage: [] })), { exitCode: EXIT.unreachable, message: /other records than it was asked about/ })
  await t.rejects(check(remote({ type: 'problem', reason: 'no' })), { exitCode: EXIT.unreachable, message: 'b: no' })
  await t.rejects(check(remote({ type: 'data', runs: [] })), { exitCode: EXIT.unreachable, message: 'b answered a scrub with data' })
  await t.rejects(check(new RemoteCopy('z', () => undefined)), { exitCode: EXIT.unreachable, message: /z is no peer/ })
})

t.test('the walk goes on from piece to piece, and behind damage', async (t) => {
  const damage = { record: won(4), offsetBytes: 4096, what: 'x' }
  const copy = new Script(piece({ next: won(4), records: 3, digest: 7, previous: 8, damage }), piece({ records: 6 }))
  t.same(await walked(copy), { records: 9, bytes: 163840, damage: [damage], trimmed: false, problem: null })
  t.same(copy.asked[1], { after: 4, to: 10, digest: 7, previous: 8 })
  t.match(await walked(new Script(piece({ next: won(4), records: 3, damage }), piece({ records: 6 })), true, 4), { damage: { length: 0 } }, 'not what who asks knows to be on the backing')
})

t.test('a log that ends, goes or is missing', async (t) => {
  t.match(await walked(new Script(piece({ next: won(5) }), piece({ next: won(5), records: 0, stored: won(5) }))), { problem: 'b has its records only up to 5, not up to 10', trimmed: false })
  t.match(await walked(new Script(piece({ next: won(0), records: 0, stored: won(0) }))), { problem: 'b has no log of epoch 1', trimmed: false })
  t.match(await walked(new Script(piece({ next: won(0), records: 0, stored: won(0) })), false), { problem: null, trimmed: true }, 'of one that nobody promised')
  t.match(await walked(new Script(piece({ next: won(5) }), piece({ next: won(5), records: 0, stored: won(0) }))), { problem: null, trimmed: true }, 'gone meanwhile')
  t.match(await walked(new Script(piece({ next: won(0), records: 0, base: won(7) }), piece())), { problem: null, trimmed: true, records: 10 })
  t.match(await walked(new Script(piece({ next: won(0), records: 0, base: won(99), stored: won(0) }))), { problem: null, trimmed: true })
})

t.test('a peer that goes away, a bug, and more damage than anybody wants to read', async (t) => {
  t.match(await walked(new Script(piece({ next: won(5), records: 5 }), new Failure(EXIT.unreachable, 'b is gone'))), { records: 5, problem: 'b is gone' })
  await t.rejects(walked(new Script(new TypeError('a bug'))), { message: 'a bug' })
  const rotten = Array.from({ length: 9 }, (_, i) => piece({ next: won(i + 1), damage: { record: won(i + 1), offsetBytes: 0, what: 'x' } }))
  t.match(await walked(new Script(...rotten, piece())), { damage: { length: 9 }, problem: null })
  const more = Array.from({ length: limits.scrubDamagesMax + 1 }, (_, i) => piece({ next: won(i + 1), damage: { record: won(i + 1), offsetBytes: 0, what: 'x' } }))
  t.match(await walked(new Script(...more), true, 0, 100), { damage: { length: limits.scrubDamagesMax }, problem: /the rest was not looked at/ })
})

t.test('the pace is kept, and a call to stop is heard while it waits', async (t) => {
  const stop = new AbortController(), pace = new Pace(1_000_000, stop.signal), started = performance.now()
  for (let i = 0; i < 4; i++) await pace.spent(100_000)
  const took = performance.now() - started
  t.ok(took > 380, `400 ms of bytes took ${took.toFixed(0)} ms`)
  setTimeout(() => stop.abort(), 50)
  await t.rejects(pace.spent(1_000_000_000), { exitCode: EXIT.unsafe, message: 'called off before it was done' })
})

