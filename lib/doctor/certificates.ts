/** This host's certificate as its peers will see it, and the clock that both are judged by. */
import { X509Certificate, createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { HostConfig } from '../config/schema.js'
import { limits } from '../limits.js'
import { authoritiesIn, namesIn } from '../peer/certificate.js'
import { fail, messageOf, ok, warn, type Finding } from './finding.js'

const AREA = 'certificate', DAY_MS = 86_400_000

export function checkCertificates({ host, replication: r }: HostConfig, nowMs: number): Finding[] {
  if (r === undefined) return []
  if (r.insecure) return [warn(AREA, 'replication.insecure = true: what hosts say to each other is neither encrypted nor authenticated', 'unless nobody else reaches that network, make certificates with "holdfast pki"')]
  const again = `issue one with "holdfast pki issue DIRECTORY ${host.name} ADDRESS"`, findings: Finding[] = []
  const read = <T>(key: 'certificate' | 'key' | 'ca', parse: (text: Buffer) => T): T | null => {
    try {
      return parse(readFileSync(r[key]!))
    } catch (error) {
      findings.push(fail(AREA, `replication.${key} = "${r[key]}" cannot be used: ${messageOf(error)}`, again))
      return null
    }
  }
  const own = read('certificate', (text) => new X509Certificate(text)), key = read('key', (text) => createPrivateKey(text)), ca = read('ca', authoritiesIn)
  if (own === null || key === null || ca === null) return findings
  const names = namesIn(own.subjectAltName)
  if (!names.includes(host.name)) findings.push(fail(AREA, `${r.certificate} names ${names.join(', ') || 'nobody'}, and host.name is ${host.name}`, again))
  if (!own.checkPrivateKey(key)) findings.push(fail(AREA, `${r.key} is not the key of ${r.certificate}`, 'put the two files that belong together into the configuration'))
  const issuer = ca.find((authority) => own.checkIssued(authority) && own.verify(authority.publicKey))
  if (issuer === undefined) findings.push(fail(AREA, `${r.certificate} was not issued by ${r.ca}`, 'give all hosts the same authority, and certificates from it'))
  findings.push(...period(own, r.certificate!, nowMs, again))
  if (issuer !== undefined) findings.push(...period(issuer, r.ca!, nowMs, 'make a new authority with "holdfast pki init" and new certificates for all hosts').filter(({ level }) => level !== 'ok'))
  return findings
}

function period(certificate: X509Certificate, path: string, nowMs: number, again: string): Finding[] {
  const from = Date.parse(certificate.validFrom), to = Date.parse(certificate.validTo), days = Math.floor((to - nowMs) / DAY_MS)
  const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10)
  // Nothing else of Holdfast looks at the time of day.
  if (nowMs < from) return [fail(AREA, `${path} is valid from ${day(from)} on, and this host's clock says ${day(nowMs)}`, 'set the clock (chronyc makestep), or issue the certificate again')]
  if (nowMs > to) return [fail(AREA, `${path} expired on ${day(to)}; this host's clock says ${day(nowMs)}`, again)]
  return [days < limits.doctorExpiryDays ? warn(AREA, `${path} expires in ${days} days, on ${day(to)}`, again) : ok(AREA, `${path} is valid for ${days} more days, until ${day(to)}`)]
}
