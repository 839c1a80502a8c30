/** The program behind bin/tsvmm.js: the command line on this process and the real library. Main thread. */
import type { Writable } from 'node:stream';
import { doctor } from '../machine/doctor.js';
import { VirtualMachine } from '../machine/virtual-machine.js';
import { commandLine } from './command-line.js';
import { inspectImage } from './inspect.js';

const { stdin, stdout, stderr } = process;
// A reader that goes away is not an error of ours; what it means for a machine is for `run` to say.
for (const stream of [stdout, stderr]) stream.on('error', () => {});

const code = await commandLine(
  process.argv.slice(2),
  { start: (options) => VirtualMachine.start(options), doctor, inspect: inspectImage },
  { stdin, stdout, stderr, signals: process, exitNow: (now) => process.exit(now) },
);
const written = (stream: Writable): Promise<void> => new Promise((resolve) => void stream.write('', () => resolve()));
await Promise.all([written(stdout), written(stderr)]);
process.exit(code);
