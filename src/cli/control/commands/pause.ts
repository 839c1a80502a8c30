/** `tsvmm pause NAME`: the guest stands still, and its machine keeps its memory and takes no processor (machine/pauses.ts). Main thread. */
import { ExitCode } from '../../exit-codes.js';
import { controlCommand } from '../command.js';

export const pause = controlCommand({
  name: 'pause',
  request: {},
  result: {},
  async serve(_fields, served) {
    await (await served.machine()).pause();
    return {};
  },
  verb: {
    text: 'let a machine stand still, in memory, until it is resumed',
    examples: [['tsvmm pause web', 'it takes no processor any more']],
    options: [],
    async run(_options, connect) {
      await (await connect()).request(pause, {});
      return ExitCode.ok;
    },
  },
});
