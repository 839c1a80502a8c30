/**
 * `tsvmm snapshot ...`: what can be done with a snapshot's directory, as commands of commander. Main thread. The first word
 * that is none of these commands is the name of a machine, for the group itself (control/commands/snapshot.ts).
 */
import type { Command } from 'commander';

export type SnapshotRequest =
  | { readonly command: 'inspect' | 'verify'; readonly directory: string }
  | { readonly command: 'merge' | 'vmcore'; readonly directory: string; readonly to: string };

export const snapshotCommands = [
  'inspect',
  'verify',
  'merge',
  'vmcore',
] as const satisfies SnapshotRequest['command'][];

export interface SnapshotOptions {
  readonly json: boolean;
}

/** `add` makes a command with its summary; `act` does what it says. */
export function addSnapshotCommands(
  group: Command,
  add: (parent: Command, name: string, text: string) => Command,
  act: (request: SnapshotRequest, options: SnapshotOptions) => Promise<void>,
): void {
  group.enablePositionalOptions(); // an option behind a command is that command's
  const command = (name: SnapshotRequest['command'], text: string, json: string): Command =>
    add(group, name, text)
      .argument('<directory>', 'the snapshot')
      .option('--json', json)
      .option('-v, --verbose', 'stack traces with errors');
  command('inspect', 'show what a snapshot holds', 'the findings as one JSON object').action(
    (directory: string, { json = false }: Partial<SnapshotOptions>) => act({ command: 'inspect', directory }, { json }),
  );
  command('verify', 'compare all of a snapshot with what was written', 'the result as one JSON object').action(
    (directory: string, { json = false }: Partial<SnapshotOptions>) => act({ command: 'verify', directory }, { json }),
  );
  command('merge', 'make one whole snapshot of one that is a difference to others', 'the result as one JSON object')
    .argument('<to>', 'the new snapshot; must not exist')
    .action((directory: string, to: string, { json = false }: Partial<SnapshotOptions>) =>
      act({ command: 'merge', directory, to }, { json }),
    );
  command('vmcore', 'write the machine as a core file for gdb and crash', 'the result as one JSON object')
    .argument('<file>', 'the core file; must not exist')
    .action((directory: string, to: string, { json = false }: Partial<SnapshotOptions>) =>
      act({ command: 'vmcore', directory, to }, { json }),
    );
  group.addHelpText(
    'after',
    `\nA machine that has the name of a command (${snapshotCommands.join(', ')}) cannot be written this way.`,
  );
}
