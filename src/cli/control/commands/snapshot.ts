/**
 * `tsvmm snapshot NAME DIR`: the machine is written to a directory while it goes on (machine/snapshots.ts). Main thread.
 *
 * A difference is one to the newest snapshot that was taken of the machine in its process, or from which it was restored. Who asked
 * and goes away before it is whole leaves nothing of it.
 */
import { resolve } from 'node:path';
import { quote } from '../../../disk/range.js';
import { TsvmmError } from '../../../errors.js';
import type { Snapshot } from '../../../machine/snapshot.js';
import { ExitCode } from '../../exit-codes.js';
import { longWork } from '../../long-work.js';
import { snapshotCommands } from '../../snapshot-commands.js';
import { controlCommand } from '../command.js';
import { absolutePath, aSwitch } from '../fields.js';
import type { Served } from '../served.js';

export const snapshot = controlCommand({
  name: 'snapshot',
  request: { directory: absolutePath, diff: aSwitch, progress: aSwitch },
  result: {},
  endsWithClient: true,
  async serve({ directory, diff = false, progress = false }, served, { signal, onProgress }) {
    const machine = await served.machine();
    if (directory === undefined) throw new TsvmmError('ERR_TSVMM_CONFIG', 'directory: it is not said where');
    await using diffFrom = diff ? await last(served) : undefined;
    await using taken = await machine.snapshot(directory, {
      ...{ diffFrom, signal },
      onProgress: progress ? onProgress : undefined,
    });
    served.lastSnapshot = taken.directory;
    return {};
  },
  verb: {
    text: 'write a machine to a directory while it goes on; or look into what was written, and copy from it',
    commands: snapshotCommands,
    argument: { name: 'directory', text: 'where it is written to; must not exist' },
    examples: [
      ['tsvmm snapshot web monday', 'write all of the machine web'],
      ['tsvmm snapshot web tuesday --diff', 'only what has changed since'],
      ['tsvmm restore tuesday', 'go on from there'],
      ['tsvmm snapshot inspect monday', 'what it holds'],
      ['tsvmm snapshot verify monday', 'whether all of it is as it was written'],
    ],
    options: [
      {
        name: 'diff',
        text: 'write only what changed since the last snapshot of this machine, or the one it was restored from; beside which it has to lie',
      },
    ],
    async run({ diff }, connect, io, directory = '') {
      const client = await connect();
      await longWork(io, async ({ signal, onProgress }) => {
        signal.addEventListener('abort', () => client.end());
        const fields = { directory: resolve(directory), progress: true, ...(diff === true && { diff }) };
        await client.request(snapshot, fields, onProgress).catch((error: unknown) => {
          signal.throwIfAborted();
          throw error;
        });
      });
      return ExitCode.ok;
    },
  },
});

async function last({ lastSnapshot }: Served): Promise<Snapshot> {
  if (lastSnapshot === undefined)
    throw new TsvmmError('ERR_TSVMM_STATE', 'there is no snapshot of it to which this could be the difference', {
      hint: 'leave out --diff: the first snapshot of a machine is a whole one',
    });
  const { Snapshot } = await import('../../../machine/snapshot.js');
  return Snapshot.open(lastSnapshot).catch((cause: TsvmmError) => {
    throw new TsvmmError(cause.code, `its last snapshot, ${quote(lastSnapshot)}, is needed: ${cause.message}`, {
      hint: 'leave out --diff, or put it back there',
      cause,
    });
  });
}
