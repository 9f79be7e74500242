/**
 * SIGHUP: the configuration is read again. What can change while guests run is changed: certificates, peers, volumes. What cannot
 * is named, and waits for the next start. A configuration that is wrong changes nothing.
 */
import { loadDocument, type ConfigDocument } from '../config/load.js'
import type { HostConfig } from '../config/schema.js'
import type { Logger } from '../control/log.js'
import type { TlsFiles, WsPeerNetwork } from '../peer/network.js'
import type { Membership } from './membership.js'
import { tlsFiles } from './tls-files.js'
import { changedKeys, type VolumeRegistry } from './volume-registry.js'

export interface ReloadParts {
  readonly registry: VolumeRegistry
  readonly network: WsPeerNetwork | null
  readonly membership: Membership
  readonly log: Logger
  /** The peers of the configuration, and their fault domains, are others now. */
  readonly learn: (config: HostConfig) => void
  /** The certificate is another one. */
  readonly renewed: (tls: TlsFiles) => void
}

const FIXED = ['host', 'region', 'replication', 'cluster', 'timing', 'fence', 'danger_zone'] as const
/** These are read again whether their names changed or not. */
const FILES = ['replication.certificate', 'replication.key', 'replication.ca']

export class Reload {
  readonly #parts: ReloadParts
  /** As it was when the daemon started: what cannot change is compared with what runs. */
  readonly #started: HostConfig
  #underWay: Promise<void> | null = null
  #again = false

  constructor(started: HostConfig, parts: ReloadParts) {
    this.#started = started
    this.#parts = parts
  }

  /** One at a time; what is asked for meanwhile is done once more. Never throws. */
  async run(): Promise<void> {
    if (this.#underWay !== null) { this.#again = true; return this.#underWay }
    this.#underWay = this.#reload().finally(() => { this.#underWay = null })
    await this.#underWay
    if (this.#again) { this.#again = false; await this.run() }
  }

  async #reload(): Promise<void> {
    const { registry, log } = this.#parts, { path } = registry.document
    try {
      const document = loadDocument(path)
      await this.#apply(document)
      for (const key of this.#fixed(document.config)) log.warn(`${key} is another one in ${path}, and takes effect when the daemon is started again`)
      log.info(`${path} was read again`)
    } catch (error) {
      for (const problem of (error as Error).message.split('\n')) log.warn(`the configuration was not read again: ${problem}`)
    }
  }

  async #apply(document: ConfigDocument): Promise<void> {
    const { registry, network, membership, learn, renewed, log } = this.#parts, { config } = document
    const secure = this.#started.replication?.insecure === false && config.replication?.insecure === false
    const tls = secure ? tlsFiles(config, log) : null
    const peersBefore = registry.document.config.peer
    await registry.reload(document)
    if (tls !== null) { network?.renewCertificates(tls); renewed(tls) }
    if (JSON.stringify(peersBefore) === JSON.stringify(config.peer)) return
    if (network === null) { log.warn('peers need [replication], which takes effect when the daemon is started again'); return }
    learn(config)
    membership.configured(config.peer.map(({ name, address }) => ({ name, at: address })))
  }

  #fixed(config: HostConfig): string[] {
    return FIXED.flatMap((section) => changedKeys(this.#started[section] ?? {}, config[section] ?? {}).map((key) => `${section}.${key}`)).filter((key) => !FILES.includes(key))
  }
}
