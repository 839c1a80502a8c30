/** How long a command takes, in an environment of its own. */
import { spawn } from 'node:child_process';
import { cleanEnvironment } from '../harness.js';

export interface CommandOptions {
  /** Must be among what it prints; without it that does not matter. */
  readonly prints?: string | undefined;
  /** Until it prints that; else until it has ended. */
  readonly untilPrinted?: boolean;
  /** What it reads; without it nothing. */
  readonly input?: string;
}

/** Milliseconds. Rejects if it has not printed what it should. */
export function command(file: string, args: readonly string[], options: CommandOptions = {}): Promise<number> {
  const { prints, untilPrinted = false, input } = options;
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(file, args, {
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'ignore'],
      env: cleanEnvironment(),
    });
    child.stdin?.end(input);
    let output = '';
    let printed = 0;
    child.stdout!.on('data', (chunk: Buffer) => {
      output += chunk.toString('latin1');
      if (printed === 0 && prints !== undefined && output.includes(prints)) printed = performance.now() - started;
    });
    child.once('error', reject);
    child.once('close', () => {
      const took = untilPrinted ? printed : performance.now() - started;
      if (prints === undefined || printed > 0) resolve(took);
      else reject(new Error(`${file} ${args.join(' ')}: it did not print "${prints}"`));
    });
  });
}

/** The floor of everything that is a Node program. */
export const nodeAlone = { name: 'node -e 0', measure: () => command(process.execPath, ['-e', '0']) };
