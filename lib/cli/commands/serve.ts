/** `holdfast serve`. */
import { Command } from 'commander'

export function serve(): Command {
  return new Command('serve')
    .description('run this host: its region, its peers, its volumes')
    .requiredOption('--config <file>', 'configuration (docs/configuration.md)')
    .addHelpText('after', `
Logs go to stderr: short lines at a terminal or with LOG_FORMAT=text, JSON elsewhere or with LOG_FORMAT=json.
SIGTERM and SIGINT bring what is dirty to the shared storage, hand the volumes back and end; a second one ends at once.

Example:
  holdfast serve --config /etc/holdfast/holdfast.toml`)
    .action(async (options: { readonly config: string }) => (await import('../serve.js')).serve(options.config))
}
