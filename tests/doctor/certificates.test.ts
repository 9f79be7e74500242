/** Certificates that no peer would take. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { examine } from '../../lib/doctor/doctor.js'
import { initCluster, issueHost } from '../../lib/pki/pki.js'
import { freePorts } from '../../fixtures/lab/workspace.js'
import { workDirectory } from '../cli/holdfast.js'
import { finds, written } from './lab.js'

t.test('certificates: expired, of another host, of another authority, with another\'s key, missing', async (t) => {
  const directory = workDirectory(t), pki = join(directory, 'pki'), other = join(directory, 'other'), [port] = await freePorts(1)
  await initCluster(pki)
  await initCluster(other)
  const good = await issueHost(pki, 'a', []), foreign = await issueHost(other, 'a', []), b = await issueHost(pki, 'b', []), soon = await issueHost(pki, 'c', [], 5)
  const tls = (files: Partial<typeof good>, host = 'a'): string => {
    const { certificate, key, ca } = { ...good, ...files }
    return written(directory, { host, more: `[replication]\nlisten = "127.0.0.1:${port}"\ncertificate = "${certificate}"\nkey = "${key}"\nca = "${ca}"\n` })
  }
  const fine = await examine(tls({}))
  t.notOk(fine.some(({ level }) => level === 'fail'))
  t.match(fine.find(({ about }) => about === 'certificate'), { level: 'ok', text: /a.crt is valid for 82\d more days, until 20/ })
  t.match((await examine(tls(soon, 'c'))).find(({ about }) => about === 'certificate'), { level: 'warn', text: /c.crt expires in 4 days/, remedy: /pki issue/ })
  await finds(t, tls(b), 'certificate', /b.crt names b, and host.name is a/, /holdfast pki issue DIRECTORY a/)
  await finds(t, tls({ key: b.key }), 'certificate', /b.key is not the key of .*a.crt/, /belong together/)
  await finds(t, tls({ ca: foreign.ca }), 'certificate', /a.crt was not issued by .*other\/ca.crt/, /the same authority/)
  await finds(t, tls({ key: join(directory, 'none.key') }), 'certificate', /replication.key = .*none.key" cannot be used: there is no such file$/, /pki issue/)
  await finds(t, tls({ ca: good.key }), 'certificate', /replication.ca = .* cannot be used: there is no certificate in it/, /pki issue/)
  expire(pki)
  await finds(t, tls({ certificate: join(pki, 'old.crt') }), 'certificate', /old.crt expired on 2021-01-02; this host's clock says 20/, /pki issue/)
  await finds(t, tls({ certificate: join(pki, 'new.crt') }), 'certificate', /new.crt is valid from 2120-01-01 on, and this host's clock says 20/, /set the clock/)
})

/** Certificates of a for its key: one of 2021, and one of 2120. */
function expire(pki: string): void {
  const openssl = (...args: string[]): void => {
    const { status, stderr } = spawnSync('openssl', args, { cwd: pki, encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
  }
  writeFileSync(join(pki, 'x.cnf'), '[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=x.srl\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n')
  writeFileSync(join(pki, 'index.txt'), '')
  writeFileSync(join(pki, 'x.srl'), '1000')
  writeFileSync(join(pki, 'a.ext'), 'subjectAltName=DNS:a\n')
  openssl('req', '-new', '-key', 'a.key', '-subj', '/CN=a', '-out', 'a.csr')
  for (const [name, from, to] of [['old.crt', '20210101000000Z', '20210102000000Z'], ['new.crt', '21200101000000Z', '21210101000000Z']] as const) {
    openssl('ca', '-batch', '-notext', '-config', 'x.cnf', '-cert', 'ca.crt', '-keyfile', 'ca.key', '-in', 'a.csr', '-out', name, '-extfile', 'a.ext', '-startdate', from, '-enddate', to)
  }
}
