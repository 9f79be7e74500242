/** A certificate whose time is over. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** For the key that the host has in this authority's folder; returns its path. */
export function expired(authority: string, host: string): string {
  const openssl = (...args: string[]): void => {
    const { status, stderr } = spawnSync('openssl', args, { cwd: authority, encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
  }
  writeFileSync(join(authority, 'x.cnf'), '[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=x.srl\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n')
  writeFileSync(join(authority, 'index.txt'), '')
  writeFileSync(join(authority, 'x.srl'), '1000')
  writeFileSync(join(authority, 'x.ext'), `subjectAltName=DNS:${host}\n`)
  openssl('req', '-new', '-key', `${host}.key`, '-subj', `/CN=${host}`, '-out', 'x.csr')
  openssl('ca', '-batch', '-notext', '-config', 'x.cnf', '-cert', 'ca.crt', '-keyfile', 'ca.key', '-in', 'x.csr', '-out', `old-${host}.crt`, '-extfile', 'x.ext', '-startdate', '20210101000000Z', '-enddate', '20210102000000Z')
  return join(authority, `old-${host}.crt`)
}
