/** A host with images, whose volumes come and go. */
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { VhostClient } from '../../lib/client/front-end.js'
import { STATUS } from '../../lib/ports/guest.js'
import { holdfast, start, workDirectory, type Outcome, type Running } from './holdfast.js'

export const VOLUME = '[[volume]]\nname = "db01"\nbacking = "db01.raw"\nsocket = "db01.sock"\ncopies = 0\n'

export interface Place { readonly directory: string; readonly serve: () => Promise<Running>; readonly ask: (...args: string[]) => Promise<Outcome> }

export function place(t: Test, volume = VOLUME): Place {
  const directory = workDirectory(t), config = join(directory, 'h.toml')
  for (const name of ['db01', 'db02', 'db03']) image(directory, name)
  writeFileSync(config, `[host]\nname = "a"\ncontrol_socket = "ctl"\n[region]\npath = "region"\nsize = "24MiB"\nsegment_size = "2MiB"\n[timing]\nrenew = "200ms"\nfail_after = "3s"\ndead_after = "6s"\nquarantine = "3s"\n${volume}`)
  const serve = async (): Promise<Running> => {
    const daemon = start(t, ['serve', '--config', config], directory)
    await daemon.says('holdfast: host a serves')
    return daemon
  }
  return { directory, serve, ask: (...args) => holdfast(...args, '--config', config) }
}

function image(directory: string, name: string): void {
  writeFileSync(join(directory, `${name}.raw`), '')
  truncateSync(join(directory, `${name}.raw`), 2 ** 20)
}

export const addition = (directory: string, name: string): string[] =>
  ['volume', 'add', name, '--backing', join(directory, `${name}.raw`), '--socket', join(directory, `${name}.sock`), '--set', 'copies=0']

export async function write(t: Test, socket: string, byte: number): Promise<void> {
  const client = await VhostClient.connect(socket)
  client.buffer.fill(byte, 0, 4096)
  t.equal(await client.submit({ kind: 'write', lbaSectors: 8, lengthSectors: 8, bufferOffset: 0 }), STATUS.ok)
  await client.close()
}
