/** `holdfast serve`: one host with its region, peers and volumes. */
import { X509Certificate } from 'node:crypto'
import { loadCheckpoint, saveCheckpoint } from '../cache/checkpoint.js'
import { ClaimWorkers } from '../claim/claim-workers.js'
import { MembersStore } from '../claim/members-store.js'
import type { ConfigDocument } from '../config/load.js'
import type { HostConfig, VolumeConfig } from '../config/schema.js'
import { ControlServer } from '../control/server.js'
import type { LogHistory, Logger } from '../control/log.js'
import { CpuLatency } from '../io/cpu-latency.js'
import { BOOT_ID } from '../io/boot-id.js'
import { IoRing } from '../io/ring.js'
import { limits } from '../limits.js'
import type { Owner } from '../io/accounts.js'
import { Figures } from '../metrics/figures.js'
import { Renderer } from '../metrics/renderer.js'
import { WsPeerNetwork, type PeerAddress, type TlsFiles } from '../peer/network.js'
import { openRegion } from '../region/region.js'
import { WebServer } from '../web/server.js'
import { Fence } from './fence.js'
import { Host } from './host.js'
import { Maintenance, noteBeside } from './maintenance.js'
import { measureHost } from './measures.js'
import { Membership } from './membership.js'
import { ProcessWatch } from './process-watch.js'
import { writeCacheBelow } from '../io/write-cache.js'
import { Reload } from './reload.js'
import { RunState } from './run-state.js'
import { tlsFiles } from './tls-files.js'
import { VolumeRegistry } from './volume-registry.js'
import { VolumeStarts } from './volume-starts.js'

export interface RunningHost {
  readonly host: Host
  /** What guests' requests go through. */
  readonly ring: IoRing
  /** The configuration is read again. */
  reload(): Promise<void>
  /** Bounded; volumes that could not be drained keep their dirty data in the region and on their replicas. Resolves to their names. */
  stop(): Promise<readonly string[]>
}

export async function startHost(document: ConfigDocument, log: Logger & LogHistory, progress: (done: number, total: number) => void): Promise<RunningHost> {
  const { config } = document, tls = tlsFiles(config, log), web = config.http === undefined ? null : new WebServer(config.http)
  const fence = config.fence === undefined ? null : new Fence(config.fence, config.host.name, log)
  const awake = config.host.low_latency ? keepAwake(log) : null
  const ring = new IoRing()
  const region = await openRegion(ring, config.region.path, {
    host: config.host.name, sizeBytes: config.region.size ?? null, segmentBytes: config.region.segment_size, progress, trustSummaries: !config.region.verify, bootId: BOOT_ID,
  })
  const claims = new ClaimWorkers(config.host.name, log)
  const membership = await startMembership(config, region.incarnation, claims, log)
  const addresses = (): PeerAddress[] => membership.following.peers.map(({ name, at }) => ({ host: name, ...at }))
  const network = config.replication === undefined ? null : new WsPeerNetwork({
    host: config.host.name, incarnation: region.incarnation, powerLosses: region.powerLosses, listen: config.replication.listen ?? null, peers: addresses(), tls,
    members: { generation: () => membership.generation, newer: () => void membership.look() },
    info: (m) => log.info(m), warn: (m) => log.warn(m),
  })
  const domains = new Map<string, string>(), learn = (from: HostConfig): void => learnDomains(domains, from, membership)
  let peers = config
  learn(peers)
  network?.follow(addresses(), membership.following.revoked)
  const host = new Host({
    region, network, membership, domains,
    writeCache: writeCacheBelow(config.region.path) ?? 'unknown', maintenance: new Maintenance(config.region.path, config.host.name), log,
  })
  if (await loadCheckpoint(region, host.readCache)) log.info('the read cache is as the last stop left it')
  membership.onChange(({ revoked }) => {
    learn(peers)
    network?.follow(addresses(), revoked)
    host.followed()
  })
  await network?.start(host)
  const starts = new VolumeStarts(host, log)
  const registry = new VolumeRegistry({
    document, host, starts, state: new RunState(noteBeside(region.path, config.host.name, 'volumes')), log,
    setup: (volume, mode) => ({ config: volume, timing: config.timing, danger: config.danger_zone, domains, fence, claims, owner: ownerOf(volume, config), mode }),
  })
  const reload = new Reload(config, { registry, network, membership, log, learn: (now) => { peers = now; learn(now) }, renewed: (now) => { certificateEndsMs = expiryOf(now) } })
  const watch = new ProcessWatch(), renderer = new Renderer()
  let certificateEndsMs = tls === null ? null : expiryOf(tls)
  const figures = new Figures(() => measureHost(host, { watch, log, certificateEndsMs }), (measures) => renderer.render(measures))
  const control = new ControlServer(config.host.control_socket, host, figures, {
    group: config.host.control_group, readers: config.host.status_socket === undefined ? null : { path: config.host.status_socket, group: config.host.status_group },
  })
  const stop = async (): Promise<readonly string[]> => {
    membership.stop()
    await host.scrubs.stop()
    await host.stopCopies()
    await fence?.stop()
    await starts.stop()
    const { running } = starts
    const clean = await Promise.all(running.map((volume) => volume.stop(limits.stopTimeoutMs)))
    claims.close()
    await control.stop()
    await web?.stop()
    await renderer.close()
    watch.close()
    await network?.stop()
    await ring.drain()
    await saveCheckpoint(region, host.readCache, running.flatMap(({ clean }) => clean?.kept ?? []))
    host.readCache.close()
    await region.close()
    ring.close()
    awake?.release()
    return running.filter((_, i) => !clean[i]).map((hosted) => hosted.volume.name)
  }
  try {
    await registry.start()
    host.lifecycle = registry
    await control.start()
    await web?.start(figures)
    if (web?.warning != null) log.warn(web.warning)
    // With the volumes that were not there when the record was read.
    host.followed()
    if ((config.region.scrub_every ?? 0) > 0) host.scrubs.every(config.region.scrub_every!)
  } catch (error) {
    await stop().catch(() => undefined)
    throw error
  }
  return { host, ring, reload: () => reload.run(), stop }
}

/** The record of members may know more than the configuration, and later. */
function learnDomains(domains: Map<string, string>, { host, peer }: HostConfig, membership: Membership): void {
  for (const { name, fault_domain: domain } of [host, ...peer]) if (domain !== undefined) domains.set(name, domain)
  for (const { name, faultDomain } of membership.following.peers) if (faultDomain != null) domains.set(name, faultDomain)
}

/** With the record, when it could be read in time; else with what was known last. Throws Failure(config) for a place that is not fit. */
async function startMembership({ host, cluster, replication, peer, region }: HostConfig, incarnation: string, claims: ClaimWorkers, log: Logger): Promise<Membership> {
  const place = cluster.store
  const membership = new Membership({
    self: host.name, incarnation, at: replication?.advertise ?? replication?.listen ?? null, bootstrap: peer.map(({ name, address }) => ({ name, at: address })),
    store: place === undefined ? null : { place, record: new MembersStore(claims.members(place)) }, note: noteBeside(region.path, host.name, 'members'), log,
  })
  // At the same time: each may wait for a storage that hangs.
  await Promise.all([...(place === undefined ? [] : [claims.refuseUnfit(place)]), membership.start()])
  return membership
}

/** What is wrong with it is for the connections to say. */
function expiryOf({ certificate }: TlsFiles): number | null {
  try { return Date.parse(new X509Certificate(certificate).validTo) } catch { return null }
}

function keepAwake(log: Logger): CpuLatency | null {
  try {
    return CpuLatency.hold()
  } catch (error) {
    log.warn(`host.low_latency has no effect: ${(error as Error).message}; run as root on a kernel with PM QoS, or set it to false`)
    return null
  }
}

/** Null: the guest's socket stays as it comes into being. */
function ownerOf({ socket_user, socket_group, socket_mode }: VolumeConfig, { host }: HostConfig): Owner | null {
  const owner = { user: socket_user ?? host.socket_user, group: socket_group ?? host.socket_group, mode: socket_mode ?? host.socket_mode }
  return Object.values(owner).every((each) => each === undefined) ? null : owner
}
