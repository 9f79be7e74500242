/** What no single key of the configuration can tell: keys that contradict each other. */
import { locationOf, nodeProblems } from '../backing/blockdev/node.js'
import type { HostConfig, VolumeConfig } from './schema.js'
import { formatAddress, formatDuration, isLoopback } from './units.js'

/** sun_path holds 107 bytes, of which a name to bind under before the rename takes up to 12. */
const SOCKET_BYTES_MAX = 95

/** One sentence for each problem; none when all is well. */
export function relationProblems(config: HostConfig): string[] {
  const problems: string[] = []
  const add = (wrong: boolean, problem: string): void => { if (wrong) problems.push(problem) }
  timing(config, add)
  peers(config, add)
  http(config, add)
  paths(config, add)
  const names = config.volume.map((v) => v.name)
  for (const volume of config.volume) {
    replicas(volume, config, add)
    blockdev(volume, add)
    const least = 2 * config.region.segment_size
    add((volume.quota ?? least) < least, `volume[${volume.name}].quota must be at least two segments of region.segment_size`)
  }
  for (const name of Object.keys(config.danger_zone.backing)) {
    add(!config.danger_zone.enabled, `danger_zone.backing.${name} needs danger_zone.enabled = true`)
    add(!names.includes(name), `danger_zone.backing.${name} is no volume; the volumes are ${names.join(', ') || 'none'}`)
  }
  return problems
}

type Add = (wrong: boolean, problem: string) => void

/** A host stops by itself (fail_after) before others take it for dead (dead_after), and not for one late renewal. */
function timing({ timing: t }: HostConfig, add: Add): void {
  const shown = (key: 'renew' | 'fail_after' | 'dead_after' | 'quarantine'): string => `timing.${key} = "${formatDuration(t[key])}"`
  add(t.renew * 2 >= t.fail_after, `${shown('fail_after')} must be more than twice ${shown('renew')}`)
  add(t.fail_after >= t.dead_after, `${shown('dead_after')} must be more than ${shown('fail_after')}`)
  add(t.quarantine < t.fail_after, `${shown('quarantine')} must be at least ${shown('fail_after')}`)
}

function http({ http: h }: HostConfig, add: Add): void {
  if (h === undefined) return
  add(!isLoopback(h.listen.address) && h.token_file === undefined, `http.token_file is missing; http.listen = "${formatAddress(h.listen)}" can be reached from elsewhere, and whoever reaches it sees everything`)
  add((h.certificate === undefined) !== (h.key === undefined), `http.${h.key === undefined ? 'key' : 'certificate'} is missing; TLS needs both`)
}

/** Every address of this host: nobody else can dial that. */
const isEvery = (address: string): boolean => /^(0\.0\.0\.0|[0:]*::?[0:]*|::ffff:0\.0\.0\.0)$/i.test(address)

function peers({ host, peer, cluster, replication: r }: HostConfig, add: Add): void {
  for (const [i, { name, address, fault_domain: domain }] of peer.entries()) {
    const earlier = peer.slice(0, i)
    add(name === host.name, `peer[${name}] is this host itself; list only the others`)
    add(earlier.some((p) => p.name === name), `peer[${name}] is there twice`)
    add(host.fault_domain !== undefined && domain === undefined, `peer[${name}].fault_domain is missing; this host has one, and a host without cannot be told apart from its neighbours`)
    add(host.fault_domain === undefined && domain !== undefined, `peer[${name}].fault_domain = "${domain}" needs host.fault_domain; give every host one, or none`)
    add(earlier.some((p) => formatAddress(p.address) === formatAddress(address)), `peer[${name}].address = "${formatAddress(address)}" is another peer's`)
  }
  add((peer.length > 0 || cluster.store !== undefined) && r?.listen === undefined, 'replication.listen is missing; the peers dial this host as well as it dials them')
  if (r === undefined) return
  add(cluster.store !== undefined && r.listen !== undefined && isEvery(r.listen.address) && r.advertise === undefined,
    'replication.advertise is missing; replication.listen is every address of this host, and the others need one that they can dial')
  add(r.advertise !== undefined && isEvery(r.advertise.address), 'replication.advertise must be an address that the others can dial')
  add(r.advertise !== undefined && r.listen === undefined, 'replication.advertise needs replication.listen')
  const missing = (['certificate', 'key', 'ca'] as const).filter((key) => r[key] === undefined)
  add(!r.insecure && missing.length > 0, `replication.${missing.join(', replication.')} ${missing.length > 1 ? 'are' : 'is'} missing; ` +
    'make them with "holdfast pki", or set replication.insecure = true on a network that nobody else can reach')
}

/** No two things in one place: a second writer on an image, or a region formatted over one, would be lost data. */
function paths({ host, region, volume }: HostConfig, add: Add): void {
  const taken = new Map<string, string>()
  const claim = (key: string, path: string): void => {
    const other = taken.get(path)
    add(other !== undefined, `${key} = "${path}" is ${other} already; each needs a path of its own`)
    if (other === undefined) taken.set(path, key)
  }
  const socket = (key: string, path: string): void => {
    const bytes = Buffer.byteLength(path)
    add(bytes > SOCKET_BYTES_MAX, `${key} = "${path}" must be a path of at most ${SOCKET_BYTES_MAX} bytes, not ${bytes} (unix sockets allow no more)`)
    claim(key, path)
  }
  claim('region.path', region.path)
  socket('host.control_socket', host.control_socket)
  if (host.status_socket !== undefined) socket('host.status_socket', host.status_socket)
  add(host.status_group !== undefined && host.status_socket === undefined, 'host.status_group needs host.status_socket')
  const names = new Set<string>()
  for (const v of volume) {
    add(names.has(v.name), `volume[${v.name}] is there twice`)
    names.add(v.name)
    claim(`volume[${v.name}].backing`, typeof v.backing === 'string' ? v.backing : locationOf(v.backing.blockdev))
    socket(`volume[${v.name}].socket`, v.socket)
  }
}

function blockdev({ name, backing, claims }: VolumeConfig, add: Add): void {
  if (typeof backing === 'string') return
  for (const problem of nodeProblems(backing.blockdev)) add(true, `volume[${name}].backing.blockdev: ${problem}`)
  add(claims === undefined, `volume[${name}].claims is missing; beside a blockdev there is no folder for its claim: set it to a directory that all hosts of this volume share`)
}

function replicas(volume: VolumeConfig, { host, peer, cluster }: HostConfig, add: Add): void {
  const names = peer.map((p) => p.name), chosen = volume.replicas ?? names, listed = cluster.store !== undefined
  const key = (name: string): string => `volume[${volume.name}].${name}`
  for (const [i, name] of chosen.entries()) {
    // Whom the record of members names is not for this file to say.
    add(name === host.name || (!listed && !names.includes(name)), `${key('replicas')} names ${name}, which is ${name === host.name ? 'this host itself' : `no [[peer]]; the peers are ${names.join(', ') || 'none'}`}`)
    add(chosen.indexOf(name) < i, `${key('replicas')} names ${name} twice`)
  }
  if (volume.policy === 'write-through' || volume.copies <= chosen.length || (listed && volume.replicas === undefined)) return
  add(chosen.length === 0, `${key('copies')} = ${volume.copies} needs peers, and there are none; add [[peer]] and [replication], or set copies = 0 ` +
    'if acknowledged writes may be lost with this host')
  add(chosen.length > 0, `${key('copies')} = ${volume.copies} must be at most ${chosen.length}, the number of its replicas`)
}
