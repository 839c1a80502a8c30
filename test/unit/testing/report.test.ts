import { describe, expect, test } from 'vitest';
import { TsvmmError, type VmExit } from '../../../src/index.js';
import { ending, report } from '../../../src/testing/report.js';

const seen = { name: 'guest', state: 'running', warnings: [], console: '' };
const warning = (message: string, suppressed = 0) =>
  ({ source: 'guest', device: 'disk0', message, suppressed }) as const;

describe('a report', () => {
  test('says how a machine is and what it printed, each line behind a bar', () => {
    expect(report({ ...seen, console: 'one\r\n\ttwo\r\n\r\n    at main (guest.js:1:2)\n\n' })).toBe(
      'machine guest: running\nconsole:\n| one\n|   two\n| \n|     at main (guest.js:1:2)',
    );
    expect(report(seen)).toBe('machine guest: running\nconsole: nothing was printed');
  });

  test('has the newest lines only, and says so', () => {
    const text = report({ ...seen, console: Array.from({ length: 500 }, (_, i) => `line ${i}\n`).join('') });
    expect(text).toContain('console, the last 50 of 500 lines:\n| line 450\n');
    expect(text.endsWith('\n| line 499')).toBe(true);
    expect(report({ ...seen, console: 'x'.repeat(10_000) }).length).toBeLessThan(400);
  });

  test('sends nothing of a guest to the terminal that could move there', () => {
    const text = report({
      ...seen,
      state: ending({ reason: 'panic', message: 'no \u001b[2Jinit', consoleTail: '', uptimeMs: 1 }),
      warnings: [warning('driver: \u001b]0;title\u0007')],
      console: '\u001b[31mred\u001b[0m \u0007\u202etfel\n',
    });
    expect(text).toBe(
      'machine guest: ended by a panic: no init\nwarning: driver:  (guest, disk0)\nconsole:\n| red \\u0007\\u202etfel',
    );
  });

  test('has the last warnings', () => {
    const text = report({ ...seen, warnings: Array.from({ length: 12 }, (_, i) => warning(`driver: ${i}`, i % 2)) });
    expect(text).toContain('warning: driver: 2 (guest, disk0)\nwarning: driver: 3 (guest, disk0, 1 more like it)\n');
    expect(text).toContain('warning: driver: 11 (guest, disk0, 1 more like it)\n2 earlier warnings\nconsole:');
    expect(text).not.toContain('driver: 1 ');
  });

  test.each<[string, Omit<VmExit, 'consoleTail' | 'uptimeMs'> & { [key: string]: unknown }]>([
    ['ended: power-off, debug exit 3', { reason: 'power-off', debugExit: 3 }],
    ['ended: reset', { reason: 'reset' }],
    ['ended by its signal: Error: enough', { reason: 'aborted', cause: new Error('enough') }],
    [
      'ended by an error: a worker died',
      { reason: 'error', error: new TsvmmError('ERR_TSVMM_WORKER_DIED', 'a worker died') },
    ],
  ])('says "%s"', (text, exit) => {
    expect(ending({ ...exit, consoleTail: '', uptimeMs: 1 } as VmExit)).toBe(text);
  });
});
