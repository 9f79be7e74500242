/** A machine for tests that say themselves what the guest asks for and when the power goes. */
import type { Test } from 'tap'
import type { Disk, DiskImage } from '../../fixtures/crash/disk.js'
import { GuestHistory, identify } from '../../fixtures/crash/history.js'
import { DISK_SECTORS, Machine, blankRemains, type MachineOptions, type Remains } from '../../fixtures/crash/machine.js'
import { Workspace } from '../../fixtures/lab/workspace.js'
import { turn } from '../../fixtures/crash/timeline.js'

/** Longer than anything that is asked here takes. */
const TURNS_MAX = 4000

export class CrashLab {
  readonly #work = new Workspace('crashlab')
  readonly #machines: Machine[] = []
  readonly #options: MachineOptions
  #blank: Remains | null = null

  constructor(t: Test, options: Partial<MachineOptions> = {}) {
    this.#options = { durability: 'flush', quarantineMs: 0, seed: 1, order: 'journal', ...options }
    t.teardown(async () => {
      for (const machine of this.#machines) await machine.stop()
      await this.#work.close()
    })
  }

  /** The newest machine, also one that did not come to serve. */
  get last(): Machine { return this.#machines.at(-1)! }

  /** A machine that serves; on what is left of another one, or on a new image. */
  async machine(remains?: Remains, tolerant = false): Promise<Machine> {
    this.#blank ??= await blankRemains(this.#work.file('blank'))
    const machine = new Machine(this.#work.file(`m${this.#machines.length}`), remains ?? this.#blank, this.#options)
    this.#machines.push(machine)
    await machine.start(new GuestHistory(new Int32Array(DISK_SECTORS)), 1 + this.#machines.length * 1_000_000, tolerant)
    return machine
  }
}

/** Ends operations, and lets time pass, until `done` or for so many turns. */
export async function runUntil(machine: Machine, done: () => boolean, turnsMax = TURNS_MAX): Promise<boolean> {
  for (let i = 0; i < turnsMax && !done(); i++) {
    if (!machine.timeline.endOne(machine.random)) machine.tick()
    await turn()
  }
  return done()
}

/** Until every request was answered. */
export const runDry = (machine: Machine, turnsMax = TURNS_MAX): Promise<boolean> => runUntil(machine, () => machine.guest.inFlight === 0, turnsMax)

/** What is left when the power goes now and every cache with it. */
export const powerCut = (machine: Machine): Remains => remainsNow(machine, (disk, at) => ({ medium: disk.mediumAt(at, () => false), cached: [] }))

export const remainsNow = (machine: Machine, image: (disk: Disk, at: number, name: string) => DiskImage): Remains =>
  machine.remainsAt(machine.timeline.now, false, (name, disk) => image(disk, machine.timeline.now, name))

/** The number of the write that each sector comes from, as the guest reads them. */
export const readIds = async (machine: Machine): Promise<Int32Array> => identify(await machine.readAll())
