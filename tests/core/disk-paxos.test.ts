/**
 * Proposers over a disk in memory, one disk access at a time in any order: blocks are read one by one, a host may crash between any
 * two accesses, and what it was writing is then whole, torn, or comes late. Never are two values decided in one instance.
 */
import t from 'tap'
import {
  PLACES, bound, look, newestDecision, nextPlace, prepare, withDecision, withVote, type PaxosBlock,
} from '../../lib/core/disk-paxos.js'

const HOSTS = 3
const INSTANCES = 2
const RUNS = Number(process.env['RUNS'] ?? 40_000)

interface Stored { readonly block: PaxosBlock<string>; readonly sequence: number; readonly decidedAt: number | null }
type Place = Stored | 'torn' | null
type Late = { readonly slot: number; readonly place: number; readonly stored: Stored }

/** mulberry32: the same run for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}

class Disk {
  readonly slots: Place[][] = Array.from({ length: HOSTS }, () => Array<Place>(PLACES).fill(null))
  readonly sessions: number[] = Array(HOSTS).fill(0) as number[]
  late: Late[] = []

  newest(slot: number): { place: number; stored: Stored } | null {
    let found: { place: number; stored: Stored } | null = null
    this.slots[slot]!.forEach((stored, place) => {
      if (stored !== null && stored !== 'torn' && (found === null || stored.sequence > found.stored.sequence)) found = { place, stored }
    })
    return found
  }
}

interface Told { readonly instance: number; readonly value: string }
type Write = { readonly place: number; readonly stored: Stored }

/** One session of a host; each `yield` is one access of the disk, and a write that is yielded is made by whoever runs this. */
function* session(disk: Disk, slot: number, attempt: number, told: (decision: Told) => void): Generator<Write | null, void> {
  const number = ++disk.sessions[slot]!
  yield null
  let mine = disk.newest(slot), count = 0
  function* others(): Generator<null, PaxosBlock<string>[]> {
    const seen: PaxosBlock<string>[] = []
    for (let other = 0; other < HOSTS; other++) {
      if (other === slot) continue
      yield null
      const found = disk.newest(other)
      if (found !== null) seen.push(found.stored.block)
    }
    return seen
  }
  function* write(block: PaxosBlock<string>): Generator<Write, PaxosBlock<string>> {
    const place = nextPlace(number, mine?.place ?? null, mine?.stored.decidedAt ?? null)
    const decidedAt = block.decided === null ? null : block.decided.instance === mine?.stored.block.decided?.instance ? mine.stored.decidedAt : place
    const stored: Stored = { block, sequence: number * 1000 + ++count, decidedAt }
    yield { place, stored }
    mine = { place, stored }
    return block
  }
  for (let tries = 0; tries < 12; tries++) {
    const before = yield* others(), known = newestDecision([...(mine === null ? [] : [mine.stored.block]), ...before])
    if (known !== null) told(known)
    const instance = (known?.instance ?? -1) + 1
    if (instance >= INSTANCES) return
    const prepared = prepare(mine?.stored.block ?? null, before, instance, { session: number, slot })
    if (prepared.kind !== 'write') continue
    let own = yield* write(prepared.block), seen = yield* others()
    if (look(own, seen).kind !== 'mine') continue
    own = yield* write(withVote(own, bound(own, seen)?.value ?? `${slot}.${attempt}.${instance}`))
    seen = yield* others()
    if (look(own, seen).kind !== 'mine') continue
    own = yield* write(withDecision(own))
    told(own.decided!)
  }
}

interface Outcome { readonly decided: number; readonly crashes: number; readonly late: number }

/** Throws what was decided twice. */
function run(seed: number): Outcome {
  const random = randomOf(seed), disk = new Disk(), decided = new Map<number, string>()
  let crashes = 0, late = 0, attempts = 0
  const told = ({ instance, value }: Told): void => {
    const before = decided.get(instance)
    if (before !== undefined && before !== value) throw new Error(`seed ${seed}: instance ${instance} is ${before} and ${value}`)
    decided.set(instance, value)
  }
  const start = (slot: number): Generator<Write | null, void> => session(disk, slot, attempts++, told)
  const hosts = Array.from({ length: HOSTS }, (_, slot) => ({ slot, running: start(slot) as Generator<Write | null, void> | null, pending: null as Write | null }))
  // Some runs are quiet, in others a host crashes at every tenth access.
  const crashShare = random() < 0.3 ? 0 : 0.1 * random(), sticky = random()
  let host = hosts[0]!
  for (let step = 0; step < 600; step++) {
    if (random() > sticky) host = hosts[Math.floor(random() * HOSTS)]!
    for (const each of disk.late.filter(() => random() < 0.1)) {
      disk.slots[each.slot]![each.place] = each.stored
      disk.late = disk.late.filter((other) => other !== each)
      late++
    }
    const { slot, pending, running } = host
    if (running === null) {
      if (hosts.every((each) => each.running === null)) break
      continue
    }
    if (random() < crashShare) {
      crashes++
      // What comes late comes before the session after the next one begins: the shell sees to that.
      for (const each of disk.late.filter((other) => other.slot === slot)) disk.slots[slot]![each.place] = each.stored
      disk.late = disk.late.filter((other) => other.slot !== slot)
      if (pending !== null) {
        const fate = random()
        if (fate < 0.3) disk.slots[slot]![pending.place] = 'torn'
        else if (fate < 0.5) disk.slots[slot]![pending.place] = pending.stored
        else if (fate < 0.8) disk.late.push({ slot, ...pending })
      }
      host.pending = null
      host.running = start(slot)
      continue
    }
    if (pending !== null) disk.slots[slot]![pending.place] = pending.stored
    const { done, value } = running.next()
    host.pending = done === true ? null : value
    if (done === true) host.running = null
  }
  return { decided: decided.size, crashes, late }
}

t.test(`${RUNS} runs of ${HOSTS} proposers`, async (t) => {
  let whole = 0, crashes = 0, late = 0
  for (let seed = 1; seed <= RUNS; seed++) {
    const outcome = run(seed)
    if (outcome.decided === INSTANCES) whole++
    crashes += outcome.crashes
    late += outcome.late
  }
  t.ok(whole > RUNS / 2, `${whole} of them decided everything`)
  t.ok(crashes > RUNS && late > RUNS / 10, `${crashes} crashes, ${late} writes that came late`)
})

t.test('a place is never that of the newest block, of the decision, or of the session before', async (t) => {
  const all = Array.from({ length: PLACES }, (_, place) => place)
  for (const session of [0, 1, 2, 3]) {
    const good = all.every((newest) => all.every((decided) => {
      const place = nextPlace(session, newest, decided)
      return place !== newest && place !== decided && Math.floor(place / 3) === session % 2
    }))
    t.ok(good, `session ${session}`)
  }
})
