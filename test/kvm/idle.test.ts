/**
 * Machines that have nothing to do use no processor: after a burst on a disk and on a virtio console no thread of the process is
 * woken (programs/idle.js). Wake-ups are counted, of every thread, the looking of the I/O worker and timers of any kind
 * among them.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { diskBytes } from '../support/records.js';
import { scratchFolder } from './support/disks.js';
import { guestFile, whyNoKvm } from './support/guests.js';

const scratch = scratchFolder();
const program = fileURLToPath(new URL('./programs/idle.js', import.meta.url));
const milliseconds = 2000;
/** A poll each 100 ms would be as many. What is left is the program's own timer, and now and then a thread of V8's. */
const most = 20;

interface Ran {
  readonly name: string;
  readonly switches: number;
  readonly ms: number;
}

describe.skipIf(whyNoKvm !== undefined)('machines that have nothing to do', () => {
  const run = (words: string): Ran[] => {
    const disk = scratch.file('idle.img', diskBytes(16));
    const args = [program, guestFile('records'), guestFile('virtio-console'), disk, `${milliseconds}`, words];
    const { stdout, stderr, status } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const { states, ran }: { states: string[]; ran: Ran[] } = JSON.parse(stdout);
    expect(states).toEqual(['running', 'running']);
    return ran;
  };

  test('wake no thread', () => {
    const ran = run('count=300 stay');
    const [switches, ms] = [
      ran.reduce((sum, thread) => sum + thread.switches, 0),
      ran.reduce((sum, thread) => sum + thread.ms, 0),
    ];
    console.log(`idle: ${ran.length} threads, ${switches} wake-ups, ${ms.toFixed(1)} ms in ${milliseconds}`);
    for (const thread of ran) expect(thread.switches, JSON.stringify(ran)).toBeLessThanOrEqual(most);
  });

  test('unlike one that has, so that the test above tells', () => {
    expect(run('').filter(({ switches }) => switches > most).length).toBeGreaterThan(1);
  });
});
