/** bin/tsvmm.js, as built, in processes of its own; none outlives its test. */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach } from 'vitest';
import { guestFile } from './guests.js';

const program = fileURLToPath(new URL('../../../bin/tsvmm.js', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout(): string;
  shows(text: string): Promise<void>;
}

export const started = new Set<ChildProcess>();
afterEach(async () => {
  for (const child of started) child.kill('SIGKILL');
  while (started.size > 0) await delay(5);
});

export function tsvmm(...words: string[]): Running {
  const child = spawn(process.execPath, [program, ...words], { stdio: 'pipe' });
  started.add(child);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString('latin1');
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString('latin1');
  });
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code) => {
      started.delete(child);
      resolve({ code, stdout, stderr });
    });
  });
  return {
    child,
    ended,
    stdout: () => stdout,
    async shows(text) {
      while (!stdout.includes(text)) {
        if (!started.has(child)) throw new Error(`ended without ${JSON.stringify(text)}: ${stdout}${stderr}`);
        await delay(5);
      }
    },
  };
}

/** A machine in the background, once its guest has shown `text`. */
export async function machine(name: string, guest: string, text: string, ...words: string[]): Promise<Running> {
  const running = tsvmm('run', '-m', '64M', '--kernel', guestFile(guest), '--name', name, ...words);
  await running.shows(text);
  return running;
}

export const done = (...words: string[]): Promise<Ended> => tsvmm(...words).ended;
export const nothingSaid: Ended = { code: 0, stdout: '', stderr: '' };

export interface Row {
  readonly name: string;
  readonly pid: number;
  readonly state: string;
}
export const ps = async (): Promise<Row[]> => JSON.parse((await done('ps', '--json')).stdout).machines;
