/** `holdfast journal`. */
import { Command, Option } from 'commander'
import { jsonOption, progressOption } from './options.js'

/** `journal`: path of the journal's slots without their ending, where they are not beside the image. */
export interface JournalArguments { readonly journal?: string; readonly json: boolean; readonly progress: boolean }

export function journal(): Command {
  const top = new Command('journal').description('the journal of an image that nobody serves and whose logs are all lost')
  const command = (name: string, description: string, images: string, options: readonly Option[]): Command => {
    const made = new Command(name).description(description).argument(images, 'the raw image')
      .option('--journal <path>', 'the journal\'s files without ".holdfast-journal-0", where they are not beside the image')
    for (const option of options) made.addOption(option)
    top.addCommand(made)
    return made
  }
  command('show', 'say what is in it', '<image>', [jsonOption()])
    .action(async (image: string, given: JournalArguments) => { (await import('../journal.js')).show(image, given) })
  command('apply', 'bring the cut in it to the image, which is then a state that the guest\'s disk once had', '<images...>', [progressOption()])
    .addHelpText('after', `
All disks of a VM at once (volumes with the same domain) are brought to one instant, or refused.

Examples:
  holdfast journal apply /san/db01.raw
  holdfast journal apply /san/vm17-root.raw /san/vm17-data.raw`)
    .action(async (images: string[], given: JournalArguments) => { await (await import('../journal.js')).apply(images, given) })
  command('discard', 'delete it, because the image was replaced since', '<image>', [])
    .action(async (image: string, given: JournalArguments) => { await (await import('../journal.js')).discard(image, given) })
  return top
}
