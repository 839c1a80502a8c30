/**
 * ACPICA's compiler and disassembler as an oracle for our tables, where it is installed.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Why tests with iasl are skipped, or undefined. */
export const noIasl =
  spawnSync('iasl', ['-v']).status === 0 ? undefined : 'iasl is not installed (apt install acpica-tools)';
if (noIasl !== undefined) console.warn(`skipped: ${noIasl}`);

export interface Disassembly {
  /** ASL, or the table compiler's language for a data table. */
  readonly source: string;
  /** Everything iasl said while disassembling and compiling again. */
  readonly messages: string;
  readonly recompiled: Buffer;
}

/** `iasl -d`, then `iasl` on the result. */
export function roundTrip(table: Uint8Array): Disassembly {
  const folder = mkdtempSync(join(tmpdir(), 'tsvmm-iasl-'));
  const run = (...args: string[]): string => {
    const { status, stdout, stderr } = spawnSync('iasl', args, { cwd: folder, encoding: 'utf8' });
    if (status !== 0) throw new Error(`iasl ${args.join(' ')} ended with ${status}\n${stdout}\n${stderr}`);
    return stdout + stderr;
  };
  try {
    writeFileSync(join(folder, 'table.dat'), table);
    const disassembling = run('-d', 'table.dat');
    const source = readFileSync(join(folder, 'table.dsl'), 'utf8');
    const messages = disassembling + run('-p', 'again', 'table.dsl');
    return { source, messages, recompiled: readFileSync(join(folder, 'again.aml')) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Lines of `messages` that complain. */
export const complaints = (messages: string): string[] =>
  messages
    .split('\n')
    .filter(
      (line) =>
        /\b(error|warning|remark|invalid|unknown|could not)\b/i.test(line) && !/ 0 (errors|warnings)/i.test(line),
    );
