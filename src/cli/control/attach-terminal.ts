/**
 * `tsvmm console`: the console of a machine in another process, on this process's terminal, or its input and output. Main thread.
 *
 * Ctrl-] leaves, and so does any signal that ends a program; the machine goes on. The terminal is restored on every way out.
 */
import { TsvmmError } from '../../errors.js';
import { isForeground, RawTerminal } from '../../host/terminal.js';
import { feedConsole, showConsole } from '../console-link.js';
import { causeOfLoss, codeForEnd, type EndCause, ExitCode } from '../exit-codes.js';
import { isCi, Notices } from '../print.js';
import type { RunIo } from '../run.js';
import { lost, type MachineClient } from './client.js';
import { RemoteConsole } from './remote-console.js';

const deadly = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/** The connection is a console already. Resolves with the exit code when the user leaves, or the machine ends. */
export async function attachTerminal(client: MachineClient, io: RunIo): Promise<number> {
  const { stdin, stdout, signals } = io;
  const { name } = client;
  const notices = new Notices(io);
  const { socket, rest } = client.handOver();
  const remote = new RemoteConsole(socket, rest, (bytes) =>
    notices.say(`${bytes} bytes of output came faster than they were read here, and are left out`),
  );
  const resize = (): void => {
    if (stdout.columns && stdout.rows) remote.resize(stdout.columns, stdout.rows);
  };
  const terminal =
    stdin.isTTY && isForeground() ? new RawTerminal(stdin, stdout.isTTY ? stdout : undefined) : undefined;
  let leave!: (cause: EndCause) => void;
  const left = new Promise<EndCause>((resolve) => {
    leave = resolve;
  });
  const listeners = deadly.map((signal) => [signal, () => leave(signal)] as const);
  for (const [signal, listener] of listeners) signals.on(signal, listener);
  const shown = showConsole(remote, stdout, {
    onData(chunk) {
      notices.watch(chunk);
      terminal?.watch(chunk);
    },
    onGone: (error) => leave(causeOfLoss(error)),
  });
  resize();
  stdout.on('resize', resize);
  let stopInput: (() => void) | undefined;
  if (terminal) {
    if (!isCi()) notices.say(`Ctrl-] leaves the console of ${name}, which goes on`);
    terminal.enter();
    stopInput = feedConsole(remote, stdin, () => leave('escape'));
  } else if (!stdin.isTTY) stopInput = feedConsole(remote, stdin);
  try {
    const cause = await Promise.race([left, shown]);
    if (cause !== undefined) return cause === 'escape' ? ExitCode.ok : codeForEnd(cause, true);
  } finally {
    stopInput?.();
    stdout.off('resize', resize);
    for (const [signal, listener] of listeners) signals.off(signal, listener);
    remote.destroy();
    terminal?.leave();
  }
  if (remote.endReason === undefined) {
    notices.beginLine();
    throw new TsvmmError('ERR_TSVMM_STATE', `${name}: ${lost.message}`, { hint: lost.hint });
  }
  notices.say(`${name} has ended (${remote.endReason})`);
  return ExitCode.ok;
}
