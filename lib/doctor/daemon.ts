/** Is a daemon running, and is it the one that this configuration is for? */
import type { HostConfig } from '../config/schema.js'
import { ControlClient } from '../control/client.js'
import { EXIT, Failure } from '../core/failure.js'
import { VERSION } from '../daemon/version.js'
import { fail, failedBy, messageOf, ok, warn, type Finding } from './finding.js'

const AREA = 'daemon'

export async function checkDaemon({ host, region, volume }: HostConfig): Promise<{ readonly runs: boolean; readonly findings: readonly Finding[] }> {
  const socket = host.control_socket
  try {
    const status = await new ControlClient(socket).status(), findings: Finding[] = []
    const mine = status.host === host.name && status.region.path === region.path
    if (!mine) findings.push(fail(AREA, `on ${socket} answers host ${status.host} with region ${status.region.path}, not this configuration's`, 'give each daemon a host.control_socket of its own'))
    if (status.version !== VERSION) findings.push(warn(AREA, `version ${status.version} runs, ${VERSION} is installed`, 'start the daemon again when its guests can do with a short stall'))
    const served = new Set(status.volumes.map(({ name }) => name)), missing = volume.filter(({ name }) => !served.has(name)).map(({ name }) => name)
    if (mine && missing.length > 0) findings.push(warn(AREA, `it does not know ${missing.join(', ')}: the configuration was changed after its start`, 'start the daemon again'))
    return { runs: true, findings: findings.length > 0 ? findings : [ok(AREA, `version ${status.version} runs and answers on ${socket}`)] }
  } catch (error) {
    // Not running is how a host begins.
    if (error instanceof Failure && error.exitCode === EXIT.unreachable && /no such socket|nobody listens/.test(messageOf(error))) return { runs: false, findings: [ok(AREA, 'not running')] }
    return { runs: false, findings: [failedBy(AREA, error, `look at who has ${socket}`)] }
  }
}
