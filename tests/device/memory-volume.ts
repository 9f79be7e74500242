/** A volume in memory that says what it was asked, and answers when it is told to. */
import { REQUEST_KIND, STATUS, type FrontEnd, type Geometry, type GuestRequest, type GuestVolume, type Status } from '../../lib/ports/guest.js'
import { MemoryDisk } from '../../fixtures/lab/memory-disk.js'

export const CAPACITY_SECTORS = 2048

const nameOf = (kind: number): string => Object.entries(REQUEST_KIND).find(([, value]) => value === kind)?.[0] ?? `${kind}`

export class MemoryVolume implements GuestVolume {
  readonly geometry: Geometry
  readonly #disk = new MemoryDisk(CAPACITY_SECTORS)
  /** What was submitted since the last look, in order: 'write 8+1'. */
  #asked: string[] = []
  /** Requests stay here, submitted and not completed, while true. */
  hold = false
  held: GuestRequest[] = []
  /** False: the volume is elsewhere, nobody gets it. */
  owned = true
  /** Requests that may still be admitted. */
  room = Infinity
  /** What was said about the write cache, in order. */
  readonly writeCache: boolean[] = []
  /** 'activate NAME' and 'deactivate NAME', in order. */
  readonly life: string[] = []
  #active: FrontEnd | null = null

  constructor(geometry: Partial<Geometry> = {}) {
    this.geometry = {
      capacitySectors: CAPACITY_SECTORS, blockSizeBytes: 512, readOnly: false, serial: 'memory', writeCache: true, discards: true, ...geometry,
    }
  }

  get bytes(): Uint8Array { return this.#disk.bytes }

  takeAsked(): string[] { return this.#asked.splice(0) }

  admit(): boolean { return this.room > 0 }

  submit(request: GuestRequest): void {
    this.room--
    this.#asked.push(`${nameOf(request.kind)} ${request.lbaSectors}+${request.lengthSectors}`)
    if (this.hold) this.held.push(request)
    else this.finish(request)
  }

  /** Moves the bytes and completes; a request that its guest does not wait for any more moves none. */
  finish(request: GuestRequest, status: Status = STATUS.ok): void {
    if (!request.dead && status === STATUS.ok) this.#disk.move(request)
    request.complete(status)
  }

  /** Completes held requests: all of them, or those at `positions`, in that order. */
  release(...positions: number[]): void {
    const chosen = positions.length === 0 ? [...this.held] : positions.map((i) => this.held[i]!)
    this.held = this.held.filter((request) => !chosen.includes(request))
    for (const request of chosen) this.finish(request)
  }

  endBatch(): void {}
  setWriteCache(on: boolean): void { this.writeCache.push(on) }

  activate(frontEnd: FrontEnd): void {
    this.life.push(`activate ${frontEnd.name}`)
    this.#active = frontEnd
    if (this.owned) frontEnd.onOwned()
  }

  deactivate(frontEnd: FrontEnd): void {
    this.life.push(`deactivate ${frontEnd.name}`)
    if (this.#active === frontEnd) this.#active = null
  }

  /** The volume has arrived here. */
  arrive(): void {
    this.owned = true
    this.#active?.onOwned()
  }

  makeRoom(requests: number): void {
    this.room = requests
    this.#active?.onRoom()
  }

  free(): void { this.#disk.free() }
}
