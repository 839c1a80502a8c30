/** `status`: what `tsvmm ps` shows of a machine. Main thread. */
import { controlCommand } from '../command.js';
import { wholeNumber, word } from '../fields.js';

export const status = controlCommand({
  name: 'status',
  request: {},
  result: { state: word, uptimeMs: wholeNumber, memory: wholeNumber, cpus: wholeNumber },
  async serve(_fields, served) {
    const { memory, cpus } = served;
    return { state: served.state(), uptimeMs: served.uptimeMs(), memory, cpus };
  },
});
