/** Runs a program of test/node/programs in a process of its own and tells how it ended and what it left. */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** From the line "ready" to the end of the process. */
  endMs: number;
  /** Processes of its group that outlived it. */
  outlived: boolean;
  /** Files in what it had for its temporary files, its home and its working directory. */
  files: string[];
}

export interface ProgramOptions {
  /** The runtime's own options, before the program. */
  readonly options?: readonly string[];
  readonly env?: Record<string, string>;
  /**
   * Before others on the same processors, where the user may have that (root): what is timed is then not the load of the
   * host. Threads that the program makes less urgent than others stay so.
   */
  readonly urgent?: boolean;
  /** Sent at the line "ready". */
  readonly signal?: NodeJS.Signals;
  /** Runs in its folder before that goes. */
  readonly look?: (folder: string) => void;
}

const longestMs = 60_000;
const program = (name: string): string => fileURLToPath(new URL(`../programs/${name}.js`, import.meta.url));

/** `name` of test/node/programs, or the path of a file; never rejects for how it ends. */
export function runProgram(
  runtime: string,
  name: string,
  args: readonly string[] = [],
  { options = [], env = {}, urgent = false, signal, look }: ProgramOptions = {},
): Promise<Ended> {
  const folder = mkdtempSync(join(tmpdir(), 'tsvmm-program-'));
  const home = join(folder, 'home');
  mkdirSync(home);
  const file = name.includes('/') ? name : program(name);
  return new Promise((resolve, reject) => {
    const command = [
      ...(urgent && process.getuid?.() === 0 ? ['nice', '-n', '-15'] : []),
      runtime,
      ...options,
      file,
      ...args,
    ];
    const child = spawn(command[0]!, command.slice(1), {
      cwd: home,
      detached: true, // a process group of its own
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], HOME: home, TMPDIR: home, ...env },
    });
    let readyAt = 0;
    const output = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output.stdout += chunk;
      if (readyAt !== 0 || !output.stdout.startsWith('ready\n')) return;
      readyAt = performance.now();
      if (signal !== undefined) child.kill(signal);
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      output.stderr += chunk;
    });
    const timer = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), longestMs);
    let endMs = 0;
    child.once('error', reject);
    child.once('exit', () => {
      endMs = performance.now() - readyAt;
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      const outlived = groupExists(child.pid!);
      const files = readdirSync(home, { recursive: true }).map(String);
      try {
        look?.(home);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
      resolve({ code, signal, ...output, endMs, outlived, files });
    });
  });
}

function groupExists(leader: number): boolean {
  try {
    process.kill(-leader, 0);
    return true;
  } catch {
    return false;
  }
}
