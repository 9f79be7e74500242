/** `holdfast pki`. */
import { hostSchema } from '../config/schema.js'
import { EXIT, Failure } from '../core/failure.js'
import { initCluster, issueHost } from '../pki/pki.js'

export async function pkiInit(directory: string): Promise<void> {
  await initCluster(directory)
  process.stdout.write(`the authority is ${directory}/ca.crt; ca.key beside it signs hosts: keep it off them\nnext: holdfast pki issue ${directory} HOST ADDRESS...\n`)
}

/** Prints the lines that the host's configuration needs. */
export async function pkiIssue(directory: string, host: string, addresses: readonly string[]): Promise<void> {
  if (!hostSchema.shape.name.safeParse(host).success) {
    throw new Failure(EXIT.usage, `"${host}" is not a host id: small letters, digits and "-", at most 63`)
  }
  const files = await issueHost(directory, host, addresses)
  process.stdout.write(`certificate = "${files.certificate}"\nkey = "${files.key}"\nca = "${files.ca}"\n`)
}
