/** What Holdfast needs of a libvirt domain's XML. Its metadata may be anybody's XML, so a real parser reads it. */
import { SaxesParser } from 'saxes'
import { EXIT, Failure } from '../core/failure.js'

export interface VhostDisk {
  readonly socket: string
  /** What libvirt calls the disk, as in "vda"; null: it does not say. */
  readonly target: string | null
}

export interface Domain {
  /** Disks that a vhost-user back end serves, whoever that is. */
  readonly vhostDisks: readonly VhostDisk[]
  /** Names of all disks. */
  readonly targets: readonly string[]
}

type Attributes = Readonly<Record<string, string>>

class Reader {
  readonly #path: string[] = []
  readonly #disks: { vhost: boolean; socket: string | null; target: string | null }[] = []

  open(tag: string, attributes: Attributes): void {
    this.#path.push(tag)
    const disk = this.#disks.at(-1)
    switch (this.#path.join('/')) {
      case 'domain/devices/disk': this.#disks.push({ vhost: attributes['type'] === 'vhostuser', socket: null, target: null }); break
      case 'domain/devices/disk/source': if (attributes['type'] === 'unix') disk!.socket = attributes['path'] ?? null; break
      case 'domain/devices/disk/target': disk!.target = attributes['dev'] ?? null; break
      default:
    }
  }

  close(): void { this.#path.pop() }

  get domain(): Domain {
    return {
      vhostDisks: this.#disks.flatMap(({ vhost, socket, target }) => vhost && socket !== null ? [{ socket, target }] : []),
      targets: this.#disks.flatMap(({ target }) => target === null ? [] : [target]),
    }
  }
}

/** Throws Failure(usage) for what is no domain. */
export function readDomain(xml: string): Domain {
  const reader = new Reader(), parser = new SaxesParser()
  let root = ''
  parser.on('error', (error) => { throw new Failure(EXIT.usage, `the domain's XML cannot be read: ${error.message}`) })
  parser.on('opentag', ({ name, attributes }) => {
    root ||= name
    reader.open(name, attributes)
  })
  parser.on('closetag', () => reader.close())
  parser.write(xml).close()
  if (root === 'domain') return reader.domain
  throw new Failure(EXIT.usage, `a domain's XML is needed, as "virsh dumpxml" prints it, and this is <${root}>`)
}
