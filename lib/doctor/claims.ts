/** Where the claims are, tried out as a daemon does at its start, and by a worker process as there: a mount that hangs is a finding. */
import { ClaimWorkers } from '../claim/claim-workers.js'
import { EXIT, Failure } from '../core/failure.js'
import { fail, failedBy, ok, type Finding } from './finding.js'

/** `about`: the volumes that have their claims there. `runs`: a daemon here has the slot of this host, if it is a lease volume. */
export async function checkClaims(place: string, about: string, host: string, runs: boolean): Promise<Finding[]> {
  const claims = new ClaimWorkers(host, { info: () => undefined, warn: () => undefined })
  try {
    const proof = await claims.prove(place)
    return [proof.ok ? ok(about, proof.text) : fail(about, proof.text, proof.remedy)]
  } catch (error) {
    if (runs && error instanceof Failure && error.exitCode === EXIT.unsafe) return [ok(about, `claims on the lease volume ${place}: the daemon here has its slot`)]
    return [failedBy(about, error, 'look at the shared storage')]
  } finally {
    claims.close()
  }
}
