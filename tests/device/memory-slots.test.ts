/** Memory that QEMU takes away while requests are in it, by its own recorded messages. */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { REQUEST_KIND, STATUS } from '../../lib/ports/guest.js'
import { ReplayRing, getBytes, putBytes, type Answer } from '../../fixtures/lab/replay-ring.js'
import { VhostReplay, readVhostTrace } from '../../fixtures/lab/vhost-replay.js'
import type { TracedMessage } from '../../fixtures/lab/vhost-proxy.js'
import { ROOT, until } from '../../fixtures/lab/workspace.js'
import { deviceLab, soon } from './device-lab.js'

const { read, write } = REQUEST_KIND
const FOLDER = join(ROOT, 'fixtures/vhost-traces')
const RECORDINGS = readdirSync(FOLDER).filter((name) => name.endsWith('-memory-slots.jsonl')).sort()
/** In the guest's RAM, far from the recorded rings. */
const OWN_AT = 64 * 2 ** 20, OWN_BYTES = 65536
const FILL = 0xab, OTHER = 0xcd
/** In the slot: where the requests under way read to, and later ones. */
const EARLY = 0, LATE = 0x10000

/** What this process has mapped of replayed memory. */
const mapped = (): number => readFileSync('/proc/self/maps', 'utf8').split('\n').filter((line) => line.includes('memfd:replayed')).length

/** Where the memory goes first after the last SET_FEATURES, with which the guest's own driver started its rings. */
function removal(trace: readonly TracedMessage[]): number {
  const requests = trace.map(({ request }) => request)
  return requests.indexOf('remMemReg', requests.lastIndexOf('setFeatures'))
}

const all = (bytes: Buffer, value: number): boolean => bytes.every((byte) => byte === value)

t.ok(RECORDINGS.length >= 2)
for (const name of RECORDINGS) t.test(`requests under way end in the memory that was taken away, later ones fail alone (${name})`, async (t) => {
  const trace = readVhostTrace(join(FOLDER, name)), removed = removal(trace)
  const { volume, path, warnings, guestErrors } = deviceLab(t), replay = new VhostReplay(path)
  t.teardown(() => replay.close())
  const say = async (from: number, to: number): Promise<void> => { for (const line of trace.slice(from, to)) await replay.line(line) }
  const slotNow = () => replay.regions.find(({ guest }) => guest > OWN_AT)!
  await say(0, removed)
  const rings = [0, 1].map((i) => new ReplayRing(replay, i, OWN_AT + i * OWN_BYTES)), old = slotNow()
  const ask = (kind: 0 | 1, at: number): number[] => rings.map((ring, i) => ring.ask(kind, i, old.guest + at + i * 4096, 512))
  const answers = (): Promise<Answer[]> => Promise.all(rings.map((ring) => ring.answer()))
  const failed = (requests: number[]): Answer[] => requests.map((request) => ({ request, status: STATUS.ioError }))
  const done = (requests: number[]): Answer[] => requests.map((request) => ({ request, status: STATUS.ok }))

  volume.bytes.fill(FILL, 0, 1024)
  volume.hold = true
  const early = ask(read, EARLY)
  await until('a request of each queue at the volume', 1000, () => volume.held.length === 2)
  volume.room = 0
  const offered = ask(read, LATE)
  await soon()
  await say(removed, removed + 2)
  t.same([trace[removed + 1]!.request, replay.differences], ['remMemReg', []], 'acknowledged')
  t.equal(volume.held.length, 2, 'at once: QEMU must not stand still until slow requests end')

  volume.makeRoom(Infinity)
  t.same(await answers(), failed(offered), 'what was offered before and not taken fails, on every queue')
  volume.bytes.fill(OTHER, 1024, 2048)
  t.same(await (ask(write, LATE), answers()).then((list) => list.map(({ status }) => status)), [STATUS.ioError, STATUS.ioError])
  t.equal(guestErrors(), 4)
  t.same(volume.takeAsked(), ['read 0+1', 'read 1+1'], 'the volume saw none of them')
  t.notMatch(warnings.join(), /is broken/)

  await say(removed + 2, removed + 4)
  t.equal(trace[removed + 3]!.request, 'addMemReg')
  const anew = slotNow()
  t.same([anew.guest === old.guest, anew.fd === old.fd, mapped()], [true, false, 3], 'another memory at the same place, and the old one is still held')
  volume.hold = false
  t.same((await (ask(read, LATE), answers())).map(({ status }) => status), [STATUS.ok, STATUS.ok])
  t.ok(all(getBytes([anew], 'guest', anew.guest + LATE, 512), FILL))
  putBytes([anew], 'guest', anew.guest + LATE, Buffer.alloc(512, OTHER))
  t.equal((await (ask(write, LATE), answers()))[0]!.status, STATUS.ok)
  t.ok(volume.bytes.subarray(0, 512).every((byte) => byte === OTHER), 'and it is read from there')

  volume.bytes.fill(FILL, 0, 1024)
  volume.release()
  t.same(await answers(), done(early), 'the first two end')
  for (const [i] of rings.entries()) {
    t.ok(all(getBytes([old], 'guest', old.guest + EARLY + i * 4096, 512), FILL), 'in the memory that they were asked for')
    t.ok(all(getBytes([anew], 'guest', anew.guest + EARLY + i * 4096, 512), 0), 'and not in what took its place')
  }
  t.equal(mapped(), 2, 'then the old memory is let go')
  t.same(replay.differences, [])
})
