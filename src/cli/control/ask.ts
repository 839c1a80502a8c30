/** `tsvmm pause NAME` and the others: a command on a machine that runs. Main thread. */
import type { RunIo } from '../run.js';
import { connectMachine, type MachineClient } from './client.js';
import type { VerbOptions } from './command.js';
import { verbs } from './commands/table.js';

/** Answers the exit code; throws what the machine answers instead. */
export async function ask(
  name: string,
  [machine, argument]: readonly [machine: string, argument?: string],
  options: VerbOptions,
  io: RunIo,
): Promise<number> {
  const [, verb] = verbs.find(([known]) => known === name)!;
  let client: MachineClient | undefined;
  try {
    return await verb.run(
      options,
      async () => {
        client = await connectMachine(machine, verb.commands);
        return client;
      },
      io,
      argument,
    );
  } finally {
    client?.close();
  }
}
