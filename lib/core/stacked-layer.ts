/** Layers of one log as one: what the newer ones do not have is in the older ones. None of them changes any more. */
import { IndexLayer } from './index-layer.js'
import { RUN, type LayerView, type RegionSector, type RunKind, type RunList } from './layer.js'
import { RunBuffer } from './run-list.js'

export class StackedLayer implements LayerView {
  readonly #layers: readonly LayerView[]
  readonly #scratch: readonly RunBuffer[]
  #flat: LayerView | null = null

  /** Newest first. */
  constructor(layers: readonly LayerView[]) {
    this.#layers = layers
    this.#scratch = layers.map(() => new RunBuffer())
    if (layers.length === 1) this.#flat = layers[0]!
  }

  lookup(lba: number, sectors: number, out: RunList): void {
    if (this.#flat !== null) this.#flat.lookup(lba, sectors, out)
    else this.#walk(0, lba, sectors, out)
  }

  #walk(depth: number, lba: number, sectors: number, out: RunList): void {
    const layer = this.#layers[depth]
    if (layer === undefined) { out.push(lba, sectors, RUN.absent, 0); return }
    const runs = this.#scratch[depth]!
    runs.reset()
    layer.lookup(lba, sectors, runs)
    for (let i = 0; i < runs.count; i++) {
      if (runs.kind[i] === RUN.absent) this.#walk(depth + 1, runs.lba[i]!, runs.sectors[i]!, out)
      else out.push(runs.lba[i]!, runs.sectors[i]!, runs.kind[i] as RunKind, runs.location[i]!)
    }
  }

  /** Sorting through several at once costs more than putting them into one, which every later look has the good of. */
  scan(fromLba: number, visit: (lba: number, sectors: number, kind: RunKind, location: RegionSector) => boolean): void {
    this.#flat ??= this.#flatten()
    this.#flat.scan(fromLba, visit)
  }

  #flatten(): LayerView {
    const flat = new IndexLayer()
    for (const layer of [...this.#layers].reverse()) {
      layer.scan(0, (lba, sectors, kind, location) => {
        if (kind === RUN.zero) flat.putZero(lba, sectors)
        else flat.putData(lba, sectors, location)
        return true
      })
    }
    return flat
  }
}
