/** `tsvmm resume NAME`: a paused machine goes on. Main thread. */
import { ExitCode } from '../../exit-codes.js';
import { controlCommand } from '../command.js';

export const resume = controlCommand({
  name: 'resume',
  request: {},
  result: {},
  async serve(_fields, served) {
    await (await served.machine()).resume();
    return {};
  },
  verb: {
    text: 'let a paused machine go on',
    examples: [['tsvmm resume web', 'as if nothing had happened but time']],
    options: [],
    async run(_options, connect) {
      await (await connect()).request(resume, {});
      return ExitCode.ok;
    },
  },
});
