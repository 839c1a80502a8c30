/** `tsvmm stop NAME`: the guest is asked to power off, and forced off when it does not. Main thread. */
import { TsvmmError } from '../../../errors.js';
import { ExitCode } from '../../exit-codes.js';
import { Notices } from '../../print.js';
import { parseDuration } from '../../values.js';
import { controlCommand, type VerbOptions } from '../command.js';
import { aSwitch, milliseconds, word } from '../fields.js';

export const stop = controlCommand({
  name: 'stop',
  request: { timeoutMs: milliseconds, kill: aSwitch },
  result: { reason: word },
  serve: async (fields, served) => ({ reason: await served.stop(fields) }),
  verb: {
    text: 'ask the guest of a machine to power off, and wait until it has',
    examples: [
      ['tsvmm stop web', 'press the power button, wait for the end'],
      ['tsvmm stop web --timeout 10s', 'and force it off after ten seconds'],
      ['tsvmm stop web --kill', 'pull the plug'],
    ],
    options: [
      {
        name: 'timeout',
        value: 'DURATION',
        text: 'force the guest off after this long, such as 10s; default: the --stop-timeout of its tsvmm run',
      },
      { name: 'kill', text: 'force it off at once' },
    ],
    async run(options, connect, io) {
      const fields = fieldsOf(options);
      const client = await connect();
      const { reason } = await client.request(stop, fields);
      if (reason === 'killed' && fields.kill !== true)
        new Notices(io).complain(`${client.name} did not power off in time, and was forced off`);
      else if (!['stopped', 'power-off', 'reset', 'killed'].includes(reason))
        new Notices(io).complain(`${client.name} has ended (${reason})`);
      return ExitCode.ok;
    },
  },
});

function fieldsOf({ timeout, kill }: VerbOptions): { timeoutMs?: number; kill?: boolean } {
  if (typeof timeout !== 'string') return kill === true ? { kill } : {};
  if (kill === true)
    throw new TsvmmError('ERR_TSVMM_CONFIG', '--timeout and --kill exclude each other', {
      hint: '--kill does not wait; leave one of them out',
    });
  return { timeoutMs: parseDuration(timeout, '--timeout') };
}
