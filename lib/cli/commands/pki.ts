/** `holdfast pki`. */
import { Command } from 'commander'

export function pki(): Command {
  return new Command('pki').description('the cluster\'s own certificates').addCommand(init()).addCommand(issue())
}

function init(): Command {
  return new Command('init')
    .description('make the cluster\'s certificate authority in a directory')
    .argument('<directory>')
    .action(async (directory: string) => (await import('../pki.js')).pkiInit(directory))
}

function issue(): Command {
  return new Command('issue')
    .description('issue a host\'s certificate and key')
    .argument('<directory>', 'where the authority is')
    .argument('<host>', 'host id, as in [host] name')
    .argument('[address...]', 'names and addresses that peers dial')
    .addHelpText('after', `
Example:
  holdfast pki init ./pki
  holdfast pki issue ./pki hv07 hv07.example.org 10.0.0.7`)
    .action(async (directory: string, host: string, addresses: string[]) => (await import('../pki.js')).pkiIssue(directory, host, addresses))
}
