/** `tsvmm fork NAME`: more machines that go on from where one is, in the process that runs it (forks.ts). Main thread. */
import { TsvmmError } from '../../../errors.js';
import { type ClockPolicy, clockPolicies } from '../../../kvm/clock-save.js';
import { ExitCode } from '../../exit-codes.js';
import { jsonLine } from '../../json-events.js';
import { parseCount } from '../../values.js';
import { clockOption, parseClock } from '../clock-option.js';
import { controlCommand, type VerbOptions } from '../command.js';
import { machineNameKind, namesKind, oneOfWords, smallNumber } from '../fields.js';
import { parseMachineName } from '../machine-name.js';

/** Their names fit into an answer. */
const mostForks = 100;

export const fork = controlCommand({
  name: 'fork',
  request: { name: machineNameKind, count: smallNumber(mostForks), clock: oneOfWords(clockPolicies) },
  result: { names: namesKind },
  serve: async (fields, served) => ({ names: await served.fork(fields) }),
  verb: {
    text: 'make more machines that go on from where one is, with its memory shared until they write to it',
    examples: [
      ['tsvmm fork web', 'prints the name of the new machine: web-fork1'],
      ['tsvmm console web-fork1', 'nothing else shows its console'],
      ['tsvmm fork web --name worker --count 3', 'worker-1, worker-2 and worker-3, all from the same moment'],
    ],
    options: [
      {
        name: 'name',
        value: 'NAME',
        text: 'its name, with --count what their numbers follow; default: NAME-fork1 and so on',
      },
      { name: 'count', value: 'N', text: `this many, at most ${mostForks}` },
      clockOption,
      { name: 'json', text: 'the names as one JSON object' },
    ],
    async run(options, connect, io) {
      const fields = fieldsOf(options);
      const { names } = await (await connect()).request(fork, fields);
      io.stdout.write(options['json'] === true ? jsonLine({ names }) : names.map((name) => `${name}\n`).join(''));
      return ExitCode.ok;
    },
  },
});

function fieldsOf({ name, count, clock }: VerbOptions): { name?: string; count?: number; clock?: ClockPolicy } {
  const many = typeof count === 'string' ? parseCount(count, '--count') : undefined;
  if (many !== undefined && many > mostForks)
    throw new TsvmmError('ERR_TSVMM_CONFIG', `--count ${many} is too many`, {
      hint: `make at most ${mostForks} at a time`,
    });
  return {
    ...(typeof name === 'string' && { name: parseMachineName(name, '--name') }),
    ...(many !== undefined && { count: many }),
    ...parseClock(clock),
  };
}
