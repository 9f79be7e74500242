/**
 * The right to write in a slot. One process has it at a time: a lock keeps others of this machine out until the last write of the one
 * before has ended; another machine that was given the same name is found by its registration, which is read before every write.
 * Each session has a number of its own, and writes where the one before did not.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { EXIT, Failure } from '../core/failure.js'
import { BOOT_ID } from '../io/boot-id.js'
import { limits } from '../limits.js'
import type { LeaseFile } from './lease-file.js'
import { LEASE_UNIT, decodeRegistration, encodeRegistration, registrationAt, type Registration } from './lease-layout.js'

export class LeaseSession {
  readonly number: number
  readonly slot: number
  readonly #file: LeaseFile
  readonly #id: string
  #mine: Registration
  #timer: NodeJS.Timeout | null = null
  #renewing: Promise<void> = Promise.resolve()
  /** Why it writes no more. */
  #over: Failure | null = null

  private constructor(file: LeaseFile, id: string, slot: number, mine: Registration) {
    this.#file = file
    this.#id = id
    this.slot = slot
    this.#mine = mine
    this.number = mine.session
  }

  /** Takes as long as it takes to see that nobody else writes there; the worker of a daemon that was here before may be about to end. Throws Failure. */
  static async begin(file: LeaseFile, id: string, slot: number, host: string): Promise<LeaseSession> {
    const end = performance.now() + limits.leaseForeignMs / 2
    while (!file.lock(registrationAt(slot)) && performance.now() < end) await sleep(limits.leaseSettleMs)
    if (!file.lock(registrationAt(slot))) throw new Failure(EXIT.unsafe, `the slot of host ${host} in the lease volume ${file.path} is used by another process on this machine, or by one whose last write has not ended; stop that one first`)
    const before = await registration(file, id, slot)
    if (before !== null && !before.ended && before.boot !== BOOT_ID) await refuseLiving(file, id, slot, before)
    const session = new LeaseSession(file, id, slot, { host, session: (before?.session ?? 0) + 1, counter: 0, boot: BOOT_ID, ended: false })
    await session.#write(session.#mine)
    // Of two machines that came at the same time the later one stays.
    if (before?.boot !== BOOT_ID) await sleep(limits.leaseSettleMs)
    await session.check()
    session.#timer = setInterval(() => { session.#renewing = session.#renew() }, limits.leaseRenewMs).unref()
    return session
  }

  async #write(registration: Registration): Promise<void> { await this.#file.write(registrationAt(this.slot), encodeRegistration(this.#id, registration)) }

  /** Before every write in the slot. Throws Failure when another machine has it now. */
  async check(): Promise<void> {
    if (this.#over === null) {
      const there = await registration(this.#file, this.#id, this.slot)
      if (there?.session !== this.number || there.boot !== BOOT_ID) this.#over = sameName(this.#file.path, this.#mine.host)
    }
    if (this.#over !== null) { this.#stop(); throw this.#over }
  }

  async #renew(): Promise<void> {
    try {
      await this.check()
      this.#mine = { ...this.#mine, counter: this.#mine.counter + 1 }
      await this.#write(this.#mine)
    } catch { /* said to whoever writes next */ }
  }

  #stop(): void { if (this.#timer !== null) clearInterval(this.#timer) }

  /** A write whose outcome is not known: what comes now is for a session with another number. */
  abandon(error: Error): void {
    this.#over ??= new Failure(EXIT.unreachable, `a write to the lease volume ${this.#file.path} failed: ${error.message}; check the shared storage`, { cause: error })
    this.#stop()
  }

  /** Nothing of this session is under way. */
  async end(): Promise<void> {
    this.#stop()
    await this.#renewing
    await this.check()
    await this.#write({ ...this.#mine, ended: true })
  }
}

async function registration(file: LeaseFile, id: string, slot: number): Promise<Registration | null> {
  const found = decodeRegistration(await file.read(registrationAt(slot), LEASE_UNIT), id)
  if (found === 'damaged') throw new Failure(EXIT.damaged, `the registration of slot ${slot} in the lease volume ${file.path} is damaged (nothing was changed): keep a copy of the volume and ask for help`)
  return found
}

const sameName = (path: string, host: string): Failure =>
  new Failure(EXIT.config, `another machine writes to the lease volume ${path} as host ${host}; give each machine a host.name of its own`)

/** Its registration stands still for long enough, or it lives. */
async function refuseLiving(file: LeaseFile, id: string, slot: number, before: Registration): Promise<void> {
  const end = performance.now() + limits.leaseForeignMs
  while (performance.now() < end) {
    await sleep(limits.leaseSettleMs)
    const now = await registration(file, id, slot)
    if (now === null || now.session !== before.session || now.counter !== before.counter) throw sameName(file.path, before.host)
  }
}
