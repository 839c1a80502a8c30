/** Runs a GRUB script against files in memory and gives back what it did. */
import type { Volume } from '../../../../src/boot/entries/volume.js';
import { BlsEntries } from '../../../../src/boot/grub/bls-entries.js';
import { Budget } from '../../../../src/boot/grub/budget.js';
import { GrubDisk } from '../../../../src/boot/grub/disk.js';
import { Environment } from '../../../../src/boot/grub/environment.js';
import { type GrubConfig, readGrubConfig } from '../../../../src/boot/grub/grub-config.js';
import { Interpreter } from '../../../../src/boot/grub/interpreter.js';
import { type Content, memoryVolume } from './memory-file-system.js';

export const configPath = '/boot/grub/grub.cfg';

export interface ScriptRun {
  readonly shell: Interpreter;
  /** What `echo` printed. */
  readonly output: string;
  readonly notes: readonly string[];
}

/** `script` as /boot/grub/grub.cfg of partition 1, beside `files`. */
export async function runScript(
  script: string,
  files: Readonly<Record<string, Content>> = {},
  others: readonly Volume[] = [],
): Promise<ScriptRun> {
  const notes: string[] = [];
  const note = (text: string): void => void notes.push(text);
  const volume = memoryVolume(1, { ...files, [configPath]: script });
  const budget = new Budget();
  const disk = new GrubDisk([volume, ...others], budget, note);
  const env = Environment.initial(budget, 'hd0,gpt1', '(hd0,gpt1)/boot/grub');
  const shell = new Interpreter({ disk, budget, note, bls: new BlsEntries(budget) }, env, {
    partition: 1,
    path: configPath,
  });
  await shell.source(`(hd0,gpt1)${configPath}`);
  return { shell, output: shell.output, notes };
}

/** The lines that `script` prints. */
export async function linesOf(script: string, files?: Readonly<Record<string, Content>>): Promise<string[]> {
  return (await runScript(script, files)).output.split('\n').slice(0, -1);
}

/** The menu of `script` as grub.cfg of partition 1, beside `files`. */
export function readMenu(
  script: string,
  files: Readonly<Record<string, Content>> = {},
  others: readonly Volume[] = [],
): Promise<GrubConfig> {
  const volume = memoryVolume(1, { ...files, [configPath]: script });
  return readGrubConfig([volume, ...others], { volume, path: configPath });
}
