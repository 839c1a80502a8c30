import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import type { StartMachine } from '../../../src/cli/machine.js';
import { run } from '../../../src/cli/run.js';
import { parseRun } from '../../../src/cli/run-flags.js';
import { TsvmmError } from '../../../src/errors.js';
import { ownRuntimeDirectory } from '../../support/runtime-directory.js';
import { play, Sink } from './play.js';

ownRuntimeDirectory();

describe('the console', () => {
  it('goes to stdout as it is, and input to the guest, whose end does not end it', async () => {
    const { code, stdout, machine } = await play(['d.img'], async (vm, { stdin }) => {
      vm.console.show('hello\r\n\x1b[31m');
      stdin.end('typed\x1d');
      await delay(20);
      vm.console.show('later');
      vm.end({ reason: 'power-off' });
    });
    expect(code).toBe(0);
    expect(stdout).toBe('hello\r\n\x1b[31mlater');
    expect(machine?.console.typed).toBe('typed\x1d');
    expect(machine?.calls).toEqual([]);
  });

  it('makes the input wait for a guest that does not read, and loses nothing', async () => {
    const parts = Array.from({ length: 20 }, (_, i) => String(i % 10).repeat(10_000));
    const { machine } = await play(['d.img'], async (vm, { stdin }) => {
      vm.console.stuck = true;
      for (const part of parts) stdin.write(part);
      await delay(20);
      expect(stdin.isPaused()).toBe(true);
      expect(vm.console.writableLength).toBeLessThan(100_000);
      vm.console.release();
      while (vm.console.typed.length < 200_000) await delay(1);
      vm.end({ reason: 'power-off' });
    });
    expect(machine?.console.typed).toBe(parts.join(''));
  });

  it('is handed over whole before the program ends', async () => {
    const slow = new (class extends Sink {
      override _write(chunk: Buffer, encoding: BufferEncoding, done: () => void): void {
        setTimeout(() => super._write(chunk, encoding, done), 1);
      }
    })({ highWaterMark: 16 });
    await play(
      ['d.img'],
      (vm) => {
        for (let i = 0; i < 50; i++) vm.console.show(`line ${i}\n`);
        vm.end({ reason: 'power-off' });
      },
      { stdout: slow },
    );
    slow.end();
    await new Promise((resolve) => slow.once('finish', resolve));
    expect(slow.text).toContain('line 49\n');
  });

  it('is not cut through by messages on the same terminal', async () => {
    const stderr = Object.assign(new Sink(), { isTTY: true });
    await play(['d.img', '--until', 'login:'], (vm) => vm.console.show('debian login: '), { stderr });
    expect(stderr.text).toMatch(/^\ntsvmm: asking the guest to power off/);
  });

  it('stops the guest when its reader goes away', async () => {
    const { code, machine } = await play(['d.img'], (_vm, { stdout }) => {
      stdout.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    });
    expect(machine?.calls).toEqual(['stop']);
    expect(code).toBe(141);
  });
});

describe('signals', () => {
  it('SIGTERM asks the guest to power off; that is a good end', async () => {
    const { code, machine, stderr } = await play(['d.img'], (_vm, { signal }) => signal('SIGTERM'));
    expect(machine?.calls).toEqual(['stop']);
    expect(machine?.stopTimeout).toBe(60_000);
    expect(code).toBe(0);
    expect(stderr).toContain('asking the guest to power off: SIGTERM');
  });
  it('a second one forces it', async () => {
    const { code, machine } = await play(['d.img'], (vm, { signal }) => {
      vm.onStop = () => {};
      signal('SIGTERM');
      signal('SIGTERM');
    });
    expect(machine?.calls).toEqual(['stop', 'kill']);
    expect(code).toBe(143);
  });
  it('a third one leaves at once', async () => {
    const { left } = await play(['d.img'], async (vm, { signal }) => {
      vm.onStop = () => {};
      vm.kill = () => vm.exited; // hangs
      signal('SIGINT');
      signal('SIGINT');
      signal('SIGINT');
      await delay(5);
      vm.end({ reason: 'killed' });
    });
    expect(left).toEqual([130]);
  });
  it('SIGINT is 130 even if the guest obeyed', async () => {
    expect((await play(['d.img'], (_vm, { signal }) => signal('SIGINT'))).code).toBe(130);
  });
  it('one before the start is over aborts the start', async () => {
    const signals = new EventEmitter();
    const start: StartMachine = ({ signal }) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason));
        setImmediate(() => signals.emit('SIGTERM'));
      });
    const stdout = new Sink();
    const stderr = new Sink();
    const given = parseRun(['d.img', '--json'])!;
    const code = await run(given, start, { stdin: new PassThrough(), stdout, stderr, signals, exitNow() {} });
    expect(code).toBe(143);
    expect(stderr.text).not.toContain('internal error');
    expect(JSON.parse(stdout.text.trim().split('\n').at(-1)!)).toMatchObject({ event: 'exit', exitCode: 143 });
  });
});

describe('--until and --timeout', () => {
  it('powers the guest off when the text appears, however it was cut', async () => {
    const { code, machine } = await play(['d.img', '--until', 'login:'], (vm) => {
      for (const part of ['debian lo', 'g', 'in', ': ']) vm.console.show(part);
    });
    expect(machine?.calls).toEqual(['stop']);
    expect(code).toBe(0);
  });
  it('fails when the guest ends without it', async () => {
    const { code, stderr } = await play(['d.img', '--until', 'login:'], (vm) => vm.end({ reason: 'power-off' }));
    expect(code).toBe(1);
    expect(stderr).toContain('never showed "login:"');
  });
  it('ends with 124 when the time is over', async () => {
    const { code, machine } = await play(['d.img', '--timeout', '10ms'], () => {});
    expect(machine?.calls).toEqual(['stop']);
    expect(code).toBe(124);
  });
});

describe('ends', () => {
  it('a panic is 3 and told', async () => {
    const { code, stderr } = await play(['d.img'], (vm) => vm.end({ reason: 'panic', message: 'VFS: no root' }));
    expect(code).toBe(3);
    expect(stderr).toContain('tsvmm: the guest panicked: VFS: no root');
  });
  it('an error of the machine is told with its hint', async () => {
    const error = new TsvmmError('ERR_TSVMM_WORKER_DIED', 'vCPU 0 ran out of heap', { hint: 'report it' });
    const { code, stderr } = await play(['d.img'], (vm) => vm.end({ reason: 'error', error }));
    expect(code).toBe(4);
    expect(stderr).toContain('tsvmm: vCPU 0 ran out of heap\nhint: report it\n');
  });
  it('a start that fails shows the tail of the console', async () => {
    const error = new TsvmmError('ERR_TSVMM_KVM_MISSING', 'no /dev/kvm', {
      hint: 'modprobe kvm',
      consoleTail: 'last words',
    });
    const { code, stderr, stdout } = await play(['d.img'], () => {}, { start: async () => Promise.reject(error) });
    expect(code).toBe(5);
    expect(stdout).toBe('');
    expect(stderr).toContain('  | last words\n');
  });
  it('a bad option value never starts a machine', async () => {
    const { code, machine, stderr } = await play(['d.img', '-m', '1'], () => {});
    expect(code).toBe(2);
    expect(machine).toBeUndefined();
    expect(stderr).toContain('has no unit');
  });
});

describe('a boot that fails', () => {
  const noRoot = '[    1.000000] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n';

  it('is reported with its cause, a command to try, the last lines and the phases', async () => {
    const { stderr, code } = await play(['--kernel', 'vmlinuz', '--disk', "it's.img"], (vm) => {
      vm.phases.push({ name: 'guest: kernel', startMs: 7, durationMs: 0, guestMs: 1 });
      vm.end({ reason: 'panic', message: 'VFS: Unable to \x1b[2Jmount', consoleTail: `\x1b]0;title\x07${noRoot}` });
    });
    expect(code).toBe(3);
    expect(stderr.split('\n')).toEqual([
      'tsvmm: the guest panicked: VFS: Unable to mount',
      `cause: probably the kernel has no initrd that would load the driver of its disk, or root= names no partition of it; the disk may bring a kernel and initrd of its own (${noRoot.trim()})`,
      "try:   tsvmm run --disk 'it'\\''s.img'",
      'code: ERR_TSVMM_GUEST (exit 3)',
      'last lines of the console:',
      `  | ${noRoot.trim()}`,
      'phases of the start:',
      '  open disks: 1.5 ms',
      '  guest: kernel: at 7.0 ms, 1.0 ms by its own clock',
      '',
    ]);
  });
  it('by a timeout, and without an error, too', async () => {
    const { stderr, code } = await play(['d.img', '--until', 'login:'], (vm) =>
      vm.end({ reason: 'power-off', consoleTail: noRoot }),
    );
    expect(code).toBe(1);
    expect(stderr).toContain('never showed "login:" (exit 1)\ncause: probably the root device');
    expect(stderr).toContain('try:   tsvmm image inspect d.img\n');
  });
  it('after the login prompt is no failed boot', async () => {
    const { stderr } = await play(['d.img'], (vm) => {
      vm.phases.push({ name: 'guest: login prompt', startMs: 7, durationMs: 0 });
      vm.end({ reason: 'panic', message: 'oops', consoleTail: noRoot });
    });
    expect(stderr).toContain('the guest panicked: oops');
    expect(stderr).not.toContain('cause:');
  });
  it('is in the exit line of --json', async () => {
    const { events } = await play(['d.img', '--json'], (vm) =>
      vm.end({ reason: 'panic', message: 'x', consoleTail: noRoot }),
    );
    expect(events.at(-1)).toMatchObject({
      event: 'exit',
      phases: [{ name: 'open disks' }],
      diagnosis: { cause: expect.any(String), line: noRoot.trim(), next: 'tsvmm image inspect d.img' },
    });
  });
  it('by giving up is told while the guest runs', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const played = play(['d.img'], (vm) => {
        vm.console.show('ALERT!  /dev/vda9 does not exist.  Dropping to a shell!\r\n(initramfs) ');
        setImmediate(() => {
          vi.advanceTimersByTime(3000);
          vm.end({ reason: 'power-off' });
        });
      });
      const { stderr, code } = await played;
      expect(code).toBe(0);
      expect(stderr).toContain('tsvmm: the guest does not seem to boot\ncause: probably the root device');
      expect(stderr).toContain('try:   tsvmm image inspect d.img\n');
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('--json', () => {
  it('puts events on stdout and the console on stderr', async () => {
    const { events, stderr, code } = await play(['d.img', '--json', '--name', 'web'], (vm) => {
      vm.emit('state', 'running', 'starting');
      vm.emit('reboot');
      vm.emit('warning', { source: 'device', device: 'blk0', message: 'driver: bad ring', suppressed: 0, cause: 1n });
      vm.console.show('console text');
      vm.end({ reason: 'power-off' });
    });
    expect(code).toBe(0);
    expect(stderr).toBe('console text');
    for (const event of events) expect(event['time']).toEqual(expect.any(Number));
    expect(events.map(({ time: _time, ...rest }) => rest)).toEqual([
      { event: 'started', id: 'vm-1', name: 'web', phases: [{ name: 'open disks', startMs: 0, durationMs: 1.5 }] },
      { event: 'state', to: 'running', from: 'starting' },
      { event: 'reboot' },
      { event: 'warning', source: 'device', device: 'blk0', message: 'driver: bad ring', suppressed: 0 },
      { event: 'exit', reason: 'power-off', exitCode: 0, uptimeMs: 12, consoleTail: 'tail' },
    ]);
  });
  it('ends with an exit line when the start fails', async () => {
    const { events, code } = await play(['d.img', '--json', '-m', 'x'], () => {});
    expect(code).toBe(2);
    expect(events).toEqual([
      expect.objectContaining({
        event: 'exit',
        reason: 'error',
        exitCode: 2,
        error: expect.objectContaining({ code: 'ERR_TSVMM_CONFIG' }),
      }),
    ]);
  });
  it('with -v carries log records too', async () => {
    const { events } = await play(['d.img', '--json', '-v'], (vm) => {
      vm.options.logger?.info({ queue: 1 }, 'activated');
      vm.end({ reason: 'power-off' });
    });
    expect(events).toContainEqual(expect.objectContaining({ event: 'log', level: 30, queue: 1, msg: 'activated' }));
  });
});
