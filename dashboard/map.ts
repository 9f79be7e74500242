/** The cluster as this host sees it: hosts in their fault domains, and where each volume and its copies are. */
import type { HostStatus, VolumeStatus } from '../lib/ports/control.js'
import { make, setChildren } from './dom.js'

type Role = 'owner' | 'copy' | 'holder'
const ROLE: Readonly<Record<Role, string>> = { owner: 'owns it', copy: 'has a copy of every write', holder: 'has older writes that the backing does not have yet' }
/** A host with more shows how many. */
const CHIPS_MAX = 18

interface HostView { readonly name: string; readonly domain: string; readonly state: 'here' | 'connected' | 'half' | 'away' | 'unknown'; readonly maintenance: boolean }

const STATE: Readonly<Record<HostView['state'], string>> = { here: 'this host', connected: 'connected', half: 'connected one way only', away: 'not connected', unknown: 'not a peer of this host' }

function hostsOf(status: HostStatus): HostView[] {
  const hosts: HostView[] = [
    { name: status.host, domain: status.faultDomain ?? '', state: 'here', maintenance: status.maintenance },
    ...status.peers.map(({ host, faultDomain, dialed, accepted, maintenance }): HostView =>
      ({ name: host, domain: faultDomain ?? '', state: dialed && accepted ? 'connected' : dialed || accepted ? 'half' : 'away', maintenance })),
  ]
  for (const name of status.volumes.flatMap(placesOf)) if (!hosts.some((host) => host.name === name)) hosts.push({ name, domain: '', state: 'unknown', maintenance: false })
  return hosts
}

const placesOf = ({ owner, set, inherited }: VolumeStatus): string[] => [...(owner === null ? [] : [owner]), ...set, ...inherited.flatMap(({ holders }) => holders)]

function roleOf({ owner, set, inherited }: VolumeStatus, host: string): Role | null {
  if (owner === host) return 'owner'
  if (set.includes(host)) return 'copy'
  return inherited.some(({ holders }) => holders.includes(host)) ? 'holder' : null
}

export class ClusterMap {
  readonly #place: HTMLElement
  readonly #choose: (volume: string) => void

  constructor(place: HTMLElement, choose: (volume: string) => void) {
    this.#place = place
    this.#choose = choose
    place.addEventListener('click', (event) => {
      const volume = (event.target as HTMLElement).closest<HTMLElement>('[data-volume]')?.dataset['volume']
      if (volume !== undefined) this.#choose(volume)
    })
  }

  update(status: HostStatus, chosen: string | null): void {
    const hosts = hostsOf(status), domains = [...new Set(hosts.map(({ domain }) => domain))].sort()
    setChildren(this.#place, domains.map((domain) => make('section', { class: `domain ${domain === '' ? 'nameless' : ''}`, 'data-domain': domain }, [
      make('h4', {}, domain === '' ? domains.length === 1 ? 'hosts (no fault domains)' : 'no fault domain' : domain),
      make('div', { class: 'hosts' }, hosts.filter((host) => host.domain === domain).map((host) => hostBox(host, status, chosen))),
    ])))
  }
}

function hostBox(host: HostView, status: HostStatus, chosen: string | null): HTMLElement {
  const found = status.volumes.flatMap((volume) => {
    const role = roleOf(volume, host.name)
    return role === null ? [] : [{ volume, role }]
  })
  const more = found.length - CHIPS_MAX, copies = host.state === 'here' ? new Set(status.replicas.map(({ volume }) => volume)).size : 0
  return make('div', { class: `host ${host.state}`, 'data-host': host.name }, [
    make('div', { class: 'host-name' }, [make('i', { class: 'dot' }), make('b', {}, host.name), make('span', {}, `${STATE[host.state]}${host.maintenance ? ', in maintenance' : ''}`)]),
    make('div', { class: 'chips' }, [
      ...found.slice(0, CHIPS_MAX).map(({ volume: { name }, role }) => make('button', {
        type: 'button', class: `chip ${role} ${name === chosen ? 'chosen' : ''}`, 'data-volume': name, 'data-role': role, title: `${name}: ${host.name} ${ROLE[role]}`,
      }, name)),
      ...(more > 0 ? [make('span', { class: 'more' }, `and ${more} more`)] : []),
      ...(found.length === 0 ? [make('span', { class: 'more' }, 'nothing of the volumes of this host')] : []),
    ]),
    ...(copies === 0 ? [] : [make('p', { class: 'more' }, `holds logs of ${copies} volume${copies === 1 ? '' : 's'} of other hosts`)]),
  ])
}
