/** `tsvmm resume NAME`: a paused machine goes on. Main thread. */
import { clockPolicies } from '../../../kvm/clock-save.js';
import { ExitCode } from '../../exit-codes.js';
import { clockOption, parseClock } from '../clock-option.js';
import { controlCommand } from '../command.js';
import { oneOfWords } from '../fields.js';

export const resume = controlCommand({
  name: 'resume',
  request: { clock: oneOfWords(clockPolicies) },
  result: {},
  async serve(fields, served) {
    await (await served.machine()).resume(fields);
    return {};
  },
  verb: {
    text: 'let a paused machine go on',
    examples: [
      ['tsvmm resume web', 'as if nothing had happened but time'],
      ['tsvmm resume web --clock keep', 'its clocks are late from then on'],
    ],
    options: [clockOption],
    async run({ clock }, connect) {
      const fields = parseClock(clock);
      await (await connect()).request(resume, fields);
      return ExitCode.ok;
    },
  },
});
