/** A host's configuration with an image beside it, and what `doctor` finds there. */
import { existsSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { examine } from '../../lib/doctor/doctor.js'

export interface Options { readonly host?: string; readonly region?: string; readonly more?: string; readonly volume?: string }

/** A host that is all right, but for what the test says. */
export function written(directory: string, { host = 'a', region = 'path = "region"\nsize = "64MiB"\nsegment_size = "8MiB"', more = '', volume = '' }: Options = {}): string {
  const config = join(directory, 'h.toml'), image = join(directory, 'db01.raw')
  if (!existsSync(image) && !existsSync(`${image}.holdfast`)) {
    writeFileSync(image, '')
    truncateSync(image, 2 ** 22)
  }
  const names = /^backing = /m.test(volume) ? '' : 'backing = "db01.raw"\n'
  writeFileSync(config, `[host]\nname = "${host}"\ncontrol_socket = "ctl"\n[region]\n${region}\n${more}[[volume]]\nname = "db01"\nsocket = "db01.sock"\ncopies = 0\n${names}${volume}`)
  return config
}

/** One thing is wrong, and nothing else. */
export async function finds(t: Test, config: string, about: string, text: RegExp, remedy: RegExp): Promise<void> {
  const wrong = (await examine(config)).filter(({ level }) => level === 'fail')
  t.match(wrong, [{ about, text, remedy }])
  t.equal(wrong.length, 1, `only that: ${wrong.map((finding) => finding.text).join(' | ')}`)
}
