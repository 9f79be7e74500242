/** The XML that makes a volume a disk of a libvirt domain. */

export interface DiskOptions {
  readonly socket: string
  /** "vda" and the like. */
  readonly target: string
  /** Null: QEMU takes one for each vCPU. */
  readonly queues: number | null
}

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '\'': '&apos;', '"': '&quot;' }
const attribute = (text: string): string => text.replace(/[&<>'"]/g, (character) => ESCAPES[character]!)

/** Guest memory that the daemon can map. Without it the guest hangs before it boots. */
export const MEMORY_BACKING = `<memoryBacking>
  <source type='memfd'/>
  <access mode='shared'/>
</memoryBacking>
`

/** With reconnect, so that the guest outlives a restart of the daemon. */
export const diskXml = ({ socket, target, queues }: DiskOptions): string => `<disk type='vhostuser' device='disk'>
  <driver name='qemu' type='raw'${queues === null ? '' : ` queues='${queues}'`}/>
  <source type='unix' path='${attribute(socket)}'>
    <reconnect enabled='yes' timeout='1'/>
  </source>
  <target dev='${attribute(target)}' bus='virtio'/>
</disk>
`

const LETTERS = 26

/** The first of vda, vdb, ... vdz, vdaa, ... that is not taken. */
export function freeTarget(taken: readonly string[]): string {
  for (let n = 0; ; n++) {
    const name = `vd${suffix(n)}`
    if (!taken.includes(name)) return name
  }
}

/** As Linux counts disks: a to z, then aa. */
function suffix(n: number): string {
  const last = String.fromCharCode('a'.charCodeAt(0) + n % LETTERS)
  return n < LETTERS ? last : suffix(Math.floor(n / LETTERS) - 1) + last
}
