/**
 * `tsvmm restore DIR`: a machine goes on from its snapshot, and lives as one of `tsvmm run` does (run.ts). Main thread.
 *
 * As there, plain options are parsed without commander.
 */
import { resolve } from 'node:path';
import { clockOption, parseClock } from './control/clock-option.js';
import { parseMachineName } from './control/machine-name.js';
import type { RestoreMachine } from './machine.js';
import { live, type Prepared, type RunIo } from './run.js';
import { type Flag, type ParsedFlags, parsePlain, type RunArguments, runFlags, sortFlags } from './run-flags.js';
import { lifeOptions } from './run-options.js';

const shared = ['name', 'json', 'quiet', 'verbose', 'until', 'timeout', 'stop-timeout'];
export const restoreFlags: readonly Flag[] = [
  { ...clockOption, group: 'Machine' },
  ...runFlags.filter(({ name }) => shared.includes(name)),
];

export interface RestoreArguments extends Pick<RunArguments, 'values' | 'switches'> {
  readonly directory: string;
}

export const restoreArguments = (directory: string, parsed: ParsedFlags): RestoreArguments => ({
  directory,
  ...sortFlags(restoreFlags, parsed),
});

/** The arguments after `restore`; undefined as for `parseRun`. */
export function parseRestore(argv: readonly string[]): RestoreArguments | undefined {
  const plain = parsePlain(restoreFlags, argv);
  const [directory, ...more] = plain?.words ?? [];
  return plain && directory !== undefined && more.length === 0 ? restoreArguments(directory, plain.parsed) : undefined;
}

/** As `run`: answers the exit code, and never rejects. */
export function restore(given: RestoreArguments, machineOf: RestoreMachine, io: RunIo): Promise<number> {
  const { switches, values } = given;
  const snapshot = resolve(given.directory);
  const prepare = (): Prepared => {
    const name = values['name'] === undefined ? undefined : parseMachineName(values['name'], '--name');
    const clock = parseClock(values['clock']);
    return {
      options: lifeOptions(values),
      name,
      snapshot,
      sizes: async () => (await import('./control/sizes.js')).sizesIn(snapshot),
      start: (common) => machineOf(snapshot, { ...common, ...clock, name, console: { whenUnread: 'block' } }),
    };
  };
  return live({ switches, prepare }, io);
}
