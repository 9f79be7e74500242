/** The files of this host's certificate, as its configuration names them: read and found fit, so that a mistake is said here and not by every peer. */
import { X509Certificate, createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import type { HostConfig } from '../config/schema.js'
import type { Logger } from '../control/log.js'
import { EXIT, Failure } from '../core/failure.js'
import { authoritiesIn, namesIn, whyNotNow } from '../peer/certificate.js'
import type { TlsFiles } from '../peer/network.js'

/** Null: plain. Throws Failure(config). A certificate that has expired is a warning: guests can be served, and copies come back with a new one. */
export function tlsFiles({ host, replication: r, peer }: HostConfig, log: Logger): TlsFiles | null {
  if (r === undefined) return null
  if (r.insecure) {
    for (const { address } of [...(r.listen === undefined ? [] : [r.listen]), ...peer.map((p) => p.address)]) {
      if (isIP(address) && !/^(127\.|::1$)/.test(address)) {
        process.emitWarning(`replication to ${address} is neither encrypted nor authenticated (replication.insecure = true)`)
      }
    }
    return null
  }
  const again = `issue one with "holdfast pki issue DIRECTORY ${host.name}"`
  const read = <T>(key: 'certificate' | 'key' | 'ca', parse: (text: Buffer) => T): { text: Buffer; parsed: T } => {
    let text: Buffer
    try {
      text = readFileSync(r[key]!)
    } catch (error) {
      throw new Failure(EXIT.config, `replication.${key} = "${r[key]}" cannot be read: ${(error as Error).message}; issue one with "holdfast pki issue"`, { cause: error })
    }
    try {
      return { text, parsed: parse(text) }
    } catch (error) {
      throw new Failure(EXIT.config, `replication.${key} = "${r[key]}" cannot be used: ${(error as Error).message}; ${again}`, { cause: error })
    }
  }
  const certificate = read('certificate', (text) => new X509Certificate(text)), key = read('key', (text) => createPrivateKey(text)), ca = read('ca', authoritiesIn)
  const own = certificate.parsed, names = namesIn(own.subjectAltName)
  const refuse = (why: string): never => { throw new Failure(EXIT.config, why) }
  if (!names.includes(host.name)) refuse(`replication.certificate = "${r.certificate}" is that of ${names.join(', ') || 'nobody'}, and host.name is ${host.name}; ${again}`)
  if (!own.checkPrivateKey(key.parsed)) refuse(`replication.key = "${r.key}" is not the key of ${r.certificate}; name the two files that belong together`)
  const issuer = ca.parsed.find((each) => own.checkIssued(each) && own.verify(each.publicKey))
  if (issuer === undefined) refuse(`replication.certificate = "${r.certificate}" was not issued by ${r.ca}, so it is another cluster's; give all hosts the same authority, and certificates from it`)
  const late = whyNotNow(own, Date.now())
  if (late !== null) log.warn(`replication.certificate = "${r.certificate}" ${late}: peers refuse this host until it has another one; ${again}, then reload the daemon`)
  return { certificate: certificate.text, key: key.text, ca: ca.text }
}
