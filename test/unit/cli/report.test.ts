import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { StartMachine } from '../../../src/cli/machine.js';
import { TsvmmError } from '../../../src/errors.js';
import { play } from './play.js';

const linux = '[    0.000000] Linux version 6.1.0\r\n[    1.000000] waiting\r\n';
const broken = (code: string): Error => Object.assign(new Error(`write ${code}`), { code });

describe('what failed is said with --quiet too', () => {
  it('--timeout', async () => {
    const { code, stderr } = await play(['d.img', '--timeout', '10ms', '-q'], (vm) => {
      vm.onStop = () => vm.end({ reason: 'power-off', consoleTail: linux });
    });
    expect(code).toBe(124);
    expect(stderr).toMatch(
      /^tsvmm: --timeout expired, and the guest has not shown a login prompt \(exit 124\)\ncause: /,
    );
    expect(stderr).toContain('\ntry:   tsvmm run d.img --append ignore_loglevel -q --timeout 10ms\n');
  });

  it('--until that saw nothing, of a guest that had booted', async () => {
    const { code, stderr, events } = await play(['d.img', '--until', 'xx', '-q', '--json'], (vm) => {
      vm.phases.push({ name: 'guest: login prompt', startMs: 7, durationMs: 0 });
      vm.end({ reason: 'power-off', consoleTail: linux });
    });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^tsvmm: the guest ended \(power-off\) and never showed "xx" \(exit 1\)\ncause: /);
    expect(stderr).toContain('\ntry:   tsvmm run d.img --json -q\n');
    expect(events.at(-1)).toMatchObject({ exitCode: 1, untilSeen: false });
  });

  it('a guest that crashed its CPU', async () => {
    const error = new TsvmmError('ERR_TSVMM_GUEST', 'the guest triple-faulted');
    const { code, stderr } = await play(['d.img', '-q'], (vm) =>
      vm.end({ reason: 'error', error, consoleTail: linux }),
    );
    expect(code).toBe(3);
    expect(stderr).toMatch(/^tsvmm: the guest triple-faulted\ncause: .*\ntry: {3}tsvmm doctor\n/);
  });

  it('not of a guest that had booted, and ran until its time was over', async () => {
    const { stderr } = await play(['d.img', '--timeout', '10ms', '-q'], (vm) =>
      vm.phases.push({ name: 'guest: login prompt', startMs: 7, durationMs: 0 }),
    );
    expect(stderr).toBe('tsvmm: --timeout expired (exit 124)\n');
  });

  it('an error of ours is not guessed about', async () => {
    const error = new TsvmmError('ERR_TSVMM_WORKER_DIED', 'vCPU 0 ran out of heap');
    const { stderr } = await play(['d.img'], (vm) => vm.end({ reason: 'error', error, consoleTail: '' }));
    expect(stderr).not.toContain('cause:');
  });
});

it('--until that saw its text says so in the exit line', async () => {
  const { events } = await play(['d.img', '--until', 'ok', '--json'], (vm) => vm.console.show('ok'));
  expect(events.at(-1)).toMatchObject({ exitCode: 0, untilSeen: true });
});

describe('output that is lost', () => {
  it('ends a run whose events nobody reads', async () => {
    const { code, machine, stderr } = await play(['d.img', '--json'], (_vm, { stdout }) => {
      stdout.destroy(broken('EPIPE'));
    });
    expect(machine?.calls).toEqual(['stop']);
    expect(code).toBe(141);
    expect(stderr).toContain('the reader of the output went away');
  });

  it.each([[[]], [['--json']]])('is a failure where it cannot be written %j', async (more) => {
    const { code, stderr } = await play(['d.img', ...more], (_vm, { stdout }) => {
      stdout.destroy(broken('ENOSPC'));
    });
    expect(code).toBe(1);
    expect(stderr).toContain('asking the guest to power off: the output cannot be written');
  });
});

it('a guest whose time to power off is over is forced off, and that is told', async () => {
  const { code, stderr, events, machine } = await play(
    ['d.img', '--json', '--stop-timeout', '20ms'],
    (vm, { signal }) => {
      vm.onStop = () => {};
      signal('SIGTERM');
    },
  );
  expect(code).toBe(143);
  expect(machine?.calls).toEqual(['stop', 'kill']);
  expect(stderr).toContain('tsvmm: forcing the guest off\n');
  expect(events.filter(({ event }) => event === 'ending')).toEqual([
    expect.objectContaining({ cause: 'SIGTERM', forced: false }),
    expect.objectContaining({ cause: 'SIGTERM', forced: true }),
  ]);
});

it('a start that is interrupted is no error', async () => {
  const start: StartMachine = ({ signal }) =>
    new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
  const { code, stderr, events } = await play(['d.img', '--json', '--timeout', '10ms', '-q'], () => {}, {
    start,
  });
  expect(code).toBe(124);
  expect(stderr).toBe('tsvmm: giving up the start: --timeout expired\n');
  expect(events.map(({ time: _time, ...rest }) => rest)).toEqual([
    { event: 'ending', cause: 'timeout', forced: false },
    { event: 'exit', reason: 'aborted', exitCode: 124, cause: 'timeout' },
  ]);
});

it('a thread that does not answer is a failure inside, not a --timeout', async () => {
  const error = new TsvmmError('ERR_TSVMM_TIMEOUT', 'vCPU 0 did not answer');
  const { code } = await play(['d.img'], (vm) => vm.end({ reason: 'error', error }));
  expect(code).toBe(4);
});

it('a boot timeline that is lost is told of, and no success', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsvmm-report-'));
  const page = join(folder, 'boot.html');
  const { code, stderr, events } = await play(['d.img', '-q', '--json', '--timeline', page], (vm) => {
    rmSync(folder, { recursive: true });
    vm.end({ reason: 'power-off' });
  });
  expect(stderr).toContain(`tsvmm: the boot timeline ${page} could not be written: ENOENT`);
  expect(code).toBe(1);
  expect(events.at(-1)).toMatchObject({ event: 'exit', reason: 'power-off', exitCode: 1 });
});
