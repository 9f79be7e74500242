/** Every command: the one table that the help, the man pages and the completions are made from. Each command is a file in commands/. */
import { Command } from 'commander'
import { EXIT } from '../core/failure.js'
import { VERSION } from '../daemon/version.js'
import { blk } from './commands/blk.js'
import { claims } from './commands/claims.js'
import { completion } from './commands/completion.js'
import { doctor } from './commands/doctor.js'
import { host } from './commands/host.js'
import { inspect } from './commands/inspect.js'
import { journal } from './commands/journal.js'
import { peer } from './commands/peer.js'
import { libvirt } from './commands/libvirt.js'
import { pki } from './commands/pki.js'
import { replay } from './commands/replay.js'
import { salvage } from './commands/salvage.js'
import { scrub } from './commands/scrub.js'
import { serve } from './commands/serve.js'
import { sim } from './commands/sim.js'
import { status } from './commands/status.js'
import { top as topView } from './commands/top.js'
import { volume } from './commands/volume.js'

const EXIT_CODES = `
Exit codes:
  ${EXIT.done} done   ${EXIT.usage} usage   ${EXIT.damaged} data damaged   ${EXIT.unreachable} unreachable   ${EXIT.internal} internal error
  ${EXIT.unsafe} not safe now, nothing changed   ${EXIT.denied} denied   ${EXIT.config} configuration`

export function program(): Command {
  const top = new Command('holdfast')
    .description('Write accelerator for QEMU/KVM: guest writes commit on local NVMe and on other hosts, shared storage gets them later.')
    .version(VERSION)
    .addHelpText('after', EXIT_CODES)
  for (const command of [blk(), serve(), status(), topView(), doctor(), volume(), host(), peer(), scrub(), inspect(), salvage(), journal(), claims(), replay(), sim(), libvirt(), pki(), completion()]) top.addCommand(command)
  settle(top)
  return top
}

/** The same manners for every command: errors are thrown, begin with the program's name and point to the help. */
function settle(command: Command): void {
  command.exitOverride().showHelpAfterError('(--help shows what is possible)')
  command.configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'holdfast: ')) })
  for (const sub of command.commands) settle(sub)
}
