/**
 * `tsvmm` with a machine that needs no KVM, for the tests on a pseudo-terminal: bundled by them and run as a program.
 * The name of the VM says how it behaves; TRACE is a file for what happened to it.
 */
import { appendFileSync } from 'node:fs';
import { commandLine } from '../../../src/cli/command-line.js';
import { fakeStart } from './fake-machine.js';

const trace = (text: string): void => appendFileSync(process.env['TRACE']!, `${text}\n`);

trace(`pid ${process.pid}`);
const { start } = fakeStart((machine) => {
  machine.console.show('guest is up\r\n\x1b[?1049h\x1b[?25l');
  const typed = setInterval(() => {
    if (machine.name === 'throws' && machine.console.typed.includes('x')) throw new Error('uncaught on purpose');
    if (machine.name === 'exits' && machine.console.typed.includes('x')) process.exit(9);
    if (machine.name === 'powers-off' && machine.console.typed.includes('x')) machine.end({ reason: 'power-off' });
  }, 10);
  void machine.exited.then(({ reason }) => {
    clearInterval(typed);
    trace(`typed ${JSON.stringify(machine.console.typed)}`);
    trace(`sizes ${JSON.stringify(machine.console.sizes)}`);
    trace(`calls ${machine.calls.join(',')}`);
    trace(`reason ${reason}`);
  });
  if (machine.name.startsWith('stubborn')) machine.onStop = () => machine.console.show('no\r\n');
});

process.exit(
  await commandLine(
    process.argv.slice(2),
    {
      start,
      restore: () => Promise.reject(new Error('not here')),
      cpus: () => Promise.reject(new Error('not here')),
      doctor: () => Promise.reject(new Error('not here')),
      inspect: () => Promise.reject(new Error('not here')),
      snapshot: () => Promise.reject(new Error('not here')),
    },
    {
      stdin: process.stdin,
      stdout: process.stdout,
      stderr: process.stderr,
      signals: process,
      exitNow: (code) => process.exit(code),
    },
  ),
);
