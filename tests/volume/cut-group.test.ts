import t from 'tap'
import { limits } from '../../lib/limits.js'
import { CutGroup, type CutRound, type GroupMember } from '../../lib/volume/cut-group.js'
import { sleep } from '../../fixtures/lab/workspace.js'

/** A disk whose cut waits, in its journal and at its end, until the test lets it go on. */
class Disk implements GroupMember {
  readonly said: string[] = []
  alive = true
  why: string | null = null
  isReady = true
  #journaled: () => void = () => undefined
  #ended: (ok: boolean) => void = () => undefined
  readonly name: string
  readonly events: string[]
  constructor(name: string, events: string[]) {
    this.name = name
    this.events = events
  }
  serving(): boolean { return this.alive }
  apart(): string | null { return this.why }
  ready(): boolean { return this.isReady }
  freeze(): void { this.events.push(`freeze ${this.name}`) }
  async run(round: CutRound): Promise<void> {
    this.isReady = false
    this.events.push(`run ${this.name}`)
    try {
      await new Promise<void>((resolve) => { this.#journaled = resolve })
      const together = await round.together()
      this.events.push(`apply ${this.name} ${together}`)
      await new Promise<void>((resolve, reject) => { this.#ended = (ok) => ok ? resolve() : reject(new Error('refused')) })
    } finally {
      this.isReady = true
    }
  }
  async journaled(): Promise<void> { this.#journaled(); await sleep(1) }
  async ended(ok = true): Promise<void> { this.#ended(ok); await sleep(1) }
}

function group(names: string): { disks: Disk[]; events: string[]; warnings: string[]; group: CutGroup; at: (ms: number) => void } {
  const events: string[] = [], warnings: string[] = []
  let now = 0
  const made = new CutGroup('vm17', { nowMs: () => now, warn: (message) => warnings.push(message) })
  const disks = [...names].map((name) => new Disk(name, events))
  for (const disk of disks) made.join(disk)
  return { disks, events, warnings, group: made, at: (ms) => { now = ms } }
}

t.test('a round ends at one instant, and nobody applies before all are in their journals', async (t) => {
  const { disks: [a, b], events, group: vm } = group('ab')
  t.equal(vm.want(a!), 'common')
  t.same(events, ['freeze a', 'freeze b', 'run a', 'run b'])
  await a!.journaled()
  t.equal(events.length, 4, 'a waits')
  await b!.journaled()
  t.same(events.slice(4).sort(), ['apply a all', 'apply b all'])
  await a!.ended()
  t.equal(vm.want(a!), 'wait', 'the next one begins when this one is on all images')
  await b!.ended()
  t.equal(vm.want(a!), 'common')
})

t.test('a backing that refuses is tried again in the same round', async (t) => {
  const { disks: [a, b], events, group: vm } = group('ab')
  vm.want(a!)
  await a!.journaled()
  await b!.journaled()
  await a!.ended()
  await b!.ended(false)
  t.equal(vm.want(b!), 'common')
  await b!.journaled()
  t.same(events.slice(-2), ['run b', 'apply b all'])
  await b!.ended()
  t.equal(vm.want(a!), 'common', 'then the next')
})

t.test('who cannot take part does not hold the others up', async (t) => {
  const { disks: [a, b, c], warnings, group: vm, at } = group('abc')
  b!.isReady = false
  t.equal(vm.want(a!), 'wait')
  at(limits.groupWaitMs - 1)
  t.equal(vm.want(a!), 'wait')
  at(limits.groupWaitMs)
  t.equal(vm.want(a!), 'alone')
  t.match(warnings, [/vm17 are cut one by one.* b cannot be cut now/])
  b!.isReady = true
  b!.why = 'is in write-through'
  t.equal(vm.want(c!), 'alone')
  t.match(warnings.at(-1), /b is in write-through/)
  b!.why = null
  b!.alive = false
  t.equal(vm.want(a!), 'common', 'a disk that is elsewhere is none of these')
  c!.alive = false
  a!.alive = true
  t.equal(vm.want(a!), 'alone', 'one disk is no group')
})

t.test('a member that is lost in the middle, and one that is stuck', async (t) => {
  const { disks: [a, b, c], events, group: vm, at } = group('abc')
  vm.want(a!)
  await a!.journaled()
  await c!.journaled()
  b!.alive = false
  at(limits.groupWaitMs)
  // Its part in the barrier is over when the time is.
  t.equal(vm.want(a!), 'common')
  b!.alive = true
  await a!.journaled()
  t.notOk(events.some((event) => event.startsWith('apply') && event.endsWith('all')), 'nobody has applied it as a round')
})
