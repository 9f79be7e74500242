/** A cluster's own certificate authority and its hosts' certificates, made with the openssl command. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { EXIT, Failure } from '../core/failure.js'

const run = promisify(execFile)
const CA_DAYS = 3650, HOST_DAYS = 825

export interface HostFiles { readonly certificate: string; readonly key: string; readonly ca: string }

async function openssl(...args: string[]): Promise<void> {
  try {
    await run('openssl', args)
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    throw new Failure(EXIT.internal, missing ? 'the openssl command is not installed; install the package openssl'
      : `openssl ${args[0]} failed: ${String((error as { stderr?: string }).stderr).trim()}`, { cause: error })
  }
}

/** Makes `ca.crt` and `ca.key` in the directory; refuses to replace an existing authority. */
export async function initCluster(directory: string): Promise<void> {
  const key = join(directory, 'ca.key')
  if (existsSync(key)) throw new Failure(EXIT.unsafe, `${key} exists already; every host certificate would become worthless: remove it yourself if that is meant`)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', String(CA_DAYS),
    '-subj', '/CN=Holdfast cluster', '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign',
    '-keyout', key, '-out', join(directory, 'ca.crt'))
  await chmod(key, 0o600)
}

/** As in a configuration, an IPv6 address may stand in brackets. */
function alternativeName(text: string): string {
  const address = text.replace(/^\[(.*)\]$/, '$1')
  if (isIP(address) !== 0 && !address.includes('%')) return `IP:${address}`
  if (/^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(address)) return `DNS:${address}`
  throw new Failure(EXIT.usage, `"${text}" is neither a name nor an IP address; leave the port away (nothing was issued)`)
}

/** Issues a certificate whose DNS name is the host id: peers are who their certificate says. */
export async function issueHost(directory: string, host: string, addresses: readonly string[], days: number = HOST_DAYS): Promise<HostFiles> {
  const file = (name: string): string => join(directory, name)
  if (!existsSync(file('ca.key'))) throw new Failure(EXIT.config, `${file('ca.key')} does not exist; run "holdfast pki init" there first`)
  const names = [`DNS:${host}`, ...addresses.map(alternativeName)]
  const extensions = file(`${host}.ext`), request = file(`${host}.csr`)
  await writeFile(extensions, `basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=${names.join(',')}\n`)
  try {
    await openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${host}`, '-keyout', file(`${host}.key`), '-out', request)
    await openssl('x509', '-req', '-in', request, '-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-CAcreateserial', '-days', String(days), '-extfile', extensions, '-out', file(`${host}.crt`))
    await chmod(file(`${host}.key`), 0o600)
  } finally {
    await rm(extensions, { force: true })
    await rm(request, { force: true })
  }
  return { certificate: file(`${host}.crt`), key: file(`${host}.key`), ca: file('ca.crt') }
}
