/** All checks of a host, in the order in which things are needed. */
import { loadConfig } from '../config/load.js'
import { Failure } from '../core/failure.js'
import type { HostConfig } from '../config/schema.js'
import { checkCertificates } from './certificates.js'
import { checkClaims } from './claims.js'
import { checkDaemon } from './daemon.js'
import { fail, failedBy, ok, type Finding } from './finding.js'
import { checkKernel } from './kernel.js'
import { checkPeers } from './peers.js'
import { checkRegion } from './region.js'
import { checkVolume } from './volume.js'

export async function examine(configPath: string): Promise<Finding[]> {
  const config = read(configPath)
  if (Array.isArray(config)) return [...(await checkKernel(1)).findings, ...config]
  const daemon = await checkDaemon(config), kernel = await checkKernel(config.volume.length)
  return [
    ...kernel.findings, ok('configuration', `${configPath}: host ${config.host.name}, ${counted(config.volume.length, 'volume')}, ${counted(config.peer.length, 'peer')}`),
    ...daemon.findings, ...checkCertificates(config, Date.now()), ...await checkPeers(config, daemon.runs),
    // Without a ring nothing of these can be opened, and each would only say so once more.
    ...(kernel.hasRing ? [...await guarded('region', () => checkRegion(config)), ...await volumes(config, daemon.runs)] : []),
  ]
}

const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`

/** Volumes may share a claim directory, which is tried once. */
async function volumes(config: HostConfig, runs: boolean): Promise<Finding[]> {
  // The record of members is kept as claims are, and may be in the same place.
  const findings: Finding[] = [], claims = new Map<string, string[]>(config.cluster.store === undefined ? [] : [[config.cluster.store, []]])
  for (const volume of config.volume) {
    findings.push(...await guarded(`volume ${volume.name}`, async () => {
      const found = await checkVolume(volume, config)
      if (found.claims !== null) claims.set(found.claims, [...claims.get(found.claims) ?? [], volume.name])
      return found.findings
    }))
  }
  for (const [directory, names] of claims) {
    findings.push(...await checkClaims(directory, names.length === 0 ? 'members' : names.length === 1 ? `volume ${names[0]}` : 'claims', config.host.name, runs))
  }
  return findings
}

/** A check that ends in an error of its own must not keep the others from being made. */
async function guarded(about: string, check: () => Promise<readonly Finding[]>): Promise<readonly Finding[]> {
  try {
    return await check()
  } catch (error) {
    return [failedBy(about, error, 'look at the kernel log')]
  }
}

function read(path: string): HostConfig | Finding[] {
  try {
    return loadConfig(path)
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return error.message.split('\n').map((line) => line.includes('; ') ? failedBy('configuration', new Error(line), '') : fail('configuration', line, 'docs/configuration.md has every key'))
  }
}
