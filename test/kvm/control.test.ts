/** A machine that is reached from other shells: bin/tsvmm.js, as built, with tiny guests. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { ownRuntimeDirectory } from '../support/runtime-directory.js';
import { guestFile, whyNoKvm } from './support/guests.js';
import { done, machine, nothingSaid, ps, type Row, started, tsvmm } from './support/tsvmm.js';

const runtime = join(ownRuntimeDirectory(), 'tsvmm');

/** Nanoseconds that any thread of the process has run. */
const ran = (pid: number): number =>
  readdirSync(`/proc/${pid}/task`)
    .map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]))
    .reduce((sum, nanoseconds) => sum + nanoseconds, 0);

describe.skipIf(whyNoKvm !== undefined)('a machine with a name', () => {
  test('is listed, paused, resumed and stopped from other shells', async () => {
    const running = await machine('web', 'spin', 'spin: looping', '--stop-timeout', '200ms');
    const pid = running.child.pid!;
    expect(await ps()).toEqual([
      { name: 'web', pid, state: 'running', uptimeMs: expect.any(Number), memory: 64 << 20, cpus: 1 },
    ]);
    expect(statSync(runtime).mode & 0o7777).toBe(0o700);
    expect(statSync(join(runtime, 'web.sock')).mode & 0o7777).toBe(0o600);
    expect(await done('pause', 'web')).toEqual(nothingSaid);
    expect(await done('pause', 'web')).toEqual(nothingSaid);
    expect(await ps()).toMatchObject([{ name: 'web', state: 'paused' }]);
    const before = ran(pid);
    await delay(500);
    expect((ran(pid) - before) / 1e6).toBeLessThan(100); // ms; of a guest that spins, 500
    expect(await done('resume', 'web')).toEqual(nothingSaid);
    expect(await ps()).toMatchObject([{ name: 'web', state: 'running' }]);
    const stopped = await done('stop', 'web'); // which the guest does not hear
    expect(stopped).toMatchObject({ code: 0, stderr: 'tsvmm: web did not power off in time, and was forced off\n' });
    expect((await running.ended).code).toBe(143);
    expect(readdirSync(runtime)).toEqual([]);
    expect(await done('stop', 'web')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no machine named web is running'),
    });
  });

  test('powers off when it is asked, also while it is paused', async () => {
    const running = await machine('web', 'power-button', 'power-button: waiting');
    await done('pause', 'web');
    expect(await done('stop', 'web')).toEqual(nothingSaid);
    const { code, stdout, stderr } = await running.ended;
    expect(code).toBe(0);
    expect(stdout).toContain('power-button: powering off');
    expect(stderr).toContain('asking the guest to power off: tsvmm stop');
  });

  test('is forced off at once, or in time, and its events say why', async () => {
    const first = await machine('one', 'spin', 'spin: looping');
    expect(await done('stop', 'one', '--kill')).toEqual(nothingSaid);
    expect((await first.ended).code).toBe(143);

    const second = tsvmm('run', '-m', '64M', '--kernel', guestFile('spin'), '--name', 'two', '--json');
    await second.shows('"event":"started"');
    expect((await done('stop', 'two', '--timeout', '100ms')).code).toBe(0);
    const { code, stdout } = await second.ended;
    expect(code).toBe(143);
    const events = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(events).toContainEqual(expect.objectContaining({ event: 'ending', cause: 'stop', forced: true }));
    expect(events.at(-1)).toMatchObject({ event: 'exit', reason: 'killed', exitCode: 143 });
  });

  test('is the only one of its name; the second is refused before it does anything', async () => {
    const running = await machine('web', 'spin', 'spin: looping');
    const { code, stdout, stderr } = await done(
      'run',
      '/nowhere/disk.img',
      '--name',
      'web',
      '--timeline',
      '/nowhere/x',
    );
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toBe(
      `tsvmm: the name web is in use by pid ${running.child.pid}\nhint: choose another --name, or end that machine first: tsvmm stop web\ncode: ERR_TSVMM_CONFIG (exit 2)\n`,
    );
    // of several that begin at once one has it
    running.child.kill('SIGKILL');
    await running.ended;
    const all = ['1', '2', '3'].map(() => tsvmm('run', '-m', '64M', '--kernel', guestFile('spin'), '--name', 'web'));
    while (all.filter(({ child }) => started.has(child)).length > 1) await delay(10);
    const [left] = all.filter(({ child }) => started.has(child));
    await left!.shows('spin: looping');
    expect(await ps()).toMatchObject([{ name: 'web', pid: left!.child.pid, state: 'running' }]);
    for (const { child, ended } of all)
      if (child !== left!.child) expect((await ended).stderr).toContain(`in use by pid ${left!.child.pid}\n`);
  });

  test('that was killed leaves files, which ps removes, and its name can be used again', async () => {
    const running = await machine('web', 'spin', 'spin: looping');
    running.child.kill('SIGKILL');
    await running.ended;
    expect(readdirSync(runtime).sort()).toEqual(['web.lock', 'web.sock']);
    expect(await done('pause', 'web')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no machine named web'),
    });
    expect(await ps()).toEqual([]);
    expect(readdirSync(runtime)).toEqual([]);

    const again = await machine('web', 'spin', 'spin: looping');
    again.child.kill('SIGKILL');
    await again.ended;
    const third = await machine('web', 'spin', 'spin: looping'); // without ps in between
    expect(await ps()).toMatchObject([{ name: 'web', pid: third.child.pid }]);
  });

  test('whose process is stopped is told apart from one that is gone', async () => {
    const running = await machine('web', 'spin', 'spin: looping');
    const { pid } = running.child;
    running.child.kill('SIGSTOP');
    const { stdout, stderr } = await done('ps', '--json');
    expect(JSON.parse(stdout).machines).toEqual([
      { name: 'web', pid, state: 'unknown', uptimeMs: null, memory: null, cpus: null },
    ]);
    expect(stderr).toBe('tsvmm: web: it does not answer\n');
    expect((await done('run', '--kernel', guestFile('spin'), '--name', 'web')).stderr).toContain(
      `in use by pid ${pid}`,
    );
    running.child.kill('SIGCONT');
    expect(await ps()).toMatchObject([{ name: 'web', pid, state: 'running' }]);
  });

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const)(
    'removes its files when %s ends it, thrice too',
    async (signal) => {
      const running = await machine('web', 'power-button', 'power-button: waiting');
      running.child.kill(signal);
      await running.ended;
      expect(readdirSync(runtime)).toEqual([]);
      const stubborn = await machine('web', 'spin', 'spin: looping');
      for (let i = 0; i < 3; i++) stubborn.child.kill(signal);
      while (started.has(stubborn.child)) {
        stubborn.child.kill(signal); // signals that come together may be one
        await delay(20);
      }
      expect(readdirSync(runtime)).toEqual([]);
    },
  );

  test('is refused where its socket is not safe, before the guest starts', async () => {
    rmSync(runtime, { recursive: true, force: true });
    mkdirSync(runtime);
    chmodSync(runtime, 0o755);
    const open = await done('run', '--kernel', guestFile('hello'), '--name', 'web');
    expect(open).toMatchObject({ code: 2, stdout: '' });
    expect(open.stderr).toContain('has mode 0755, and not 0700\nhint: chmod 700 ');
    rmSync(runtime, { recursive: true });
    symlinkSync('/tmp', runtime);
    expect((await done('ps')).stderr).toContain('is a symbolic link');
    rmSync(runtime);
    expect((await done('run', '--kernel', guestFile('hello'), '--name', '-x')).code).toBe(2);
    expect((await done('run', '-m', '64M', '--kernel', guestFile('hello'), '--name', 'web')).stdout).toBe(
      'hello from guest\n',
    );
  });
});

describe.skipIf(whyNoKvm !== undefined)('an attached console', () => {
  test('begins with what was shown, and all who are attached see and type', async () => {
    const running = await machine('web', 'echo', 'echo ready');
    const first = tsvmm('console', 'web');
    const second = tsvmm('console', 'web');
    await Promise.all([first.shows('echo ready\n'), second.shows('echo ready\n')]);
    first.child.stdin!.write('one\n');
    await Promise.all([first, second, running].map((each) => each.shows('echo: one\n')));
    second.child.stdin!.write('two\n');
    running.child.stdin!.write('three\n');
    for (const each of [first, second, running])
      for (const line of ['echo: two\n', 'echo: three\n']) await each.shows(line);
    first.child.kill('SIGINT');
    expect(await first.ended).toMatchObject({ code: 130, stderr: '' });
    second.child.stdin!.end('quit\n');
    const { code, stdout, stderr } = await second.ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'tsvmm: web has ended (power-off)\n' });
    const shown = (await running.ended).stdout;
    expect(shown).toContain('echo done\n');
    expect(stdout).toBe(shown); // all of it, from the first byte to the last
  });

  test('that does not read lets the guest go on, and is told what it missed', async () => {
    const running = await machine('web', 'virtio-console', 'hello from virtio-console', '--console', 'virtio');
    const stuck = tsvmm('console', 'web');
    await stuck.shows('hello from virtio-console');
    stuck.child.kill('SIGSTOP');
    const line = 'x'.repeat(1000);
    for (let i = 0; i < 2000; i += 100) {
      running.child.stdin!.write(`${line}\n`.repeat(100));
      running.child.stdin!.write(`that was ${i}\n`);
      await running.shows(`echo: that was ${i}\r\n`);
    }
    stuck.child.kill('SIGCONT');
    running.child.stdin!.write('quit\n');
    const [all, seen] = await Promise.all([running.ended, stuck.ended]);
    expect(seen.code).toBe(0);
    const gaps = [...seen.stderr.matchAll(/(\d+) bytes of output came faster/g)].map(([, bytes]) => Number(bytes));
    expect(gaps.length).toBeGreaterThan(0);
    expect(seen.stdout.length + gaps.reduce((sum, gap) => sum + gap, 0)).toBe(all.stdout.length);
    expect(all.stdout.startsWith(seen.stdout.slice(0, 100_000))).toBe(true);
  });

  test('of a guest that does not read waits, and the machine can be stopped all the same', async () => {
    const running = await machine('web', 'spin', 'spin: looping');
    const memory = (): number =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${running.child.pid}/status`, 'latin1'))![1]);
    const before = memory();
    const attached = tsvmm('console', 'web');
    await attached.shows('spin: looping');
    attached.child.stdin!.write(Buffer.alloc(64 << 20, 'x'));
    await delay(1000);
    expect(memory() - before).toBeLessThan(32 * 1024); // KiB; half of what was typed
    attached.child.stdin!.on('error', () => {});
    expect((await done('stop', 'web', '--kill')).code).toBe(0);
    expect((await attached.ended).code).toBe(0);
  });
});

test.skipIf(whyNoKvm !== undefined)(
  'clients that flood, hang, send nonsense or go away do not hurt the machine',
  async () => {
    const running = await machine('web', 'echo', 'echo ready');
    const sockets = Array.from({ length: 60 }, (_, i) => {
      const socket = createConnection(join(runtime, 'web.sock')).on('error', () => {});
      if (i % 6 === 0)
        socket.pause().write('{"command":"status"}\n'.repeat(20_000)); // asks, and reads nothing
      else if (i % 6 === 1)
        socket.resume().write(Buffer.alloc(8 << 20, 'x')); // a line without end
      else if (i % 6 === 2)
        socket.pause().write('{"command":"console"}\n'); // looks on, and reads nothing
      else if (i % 6 === 3)
        socket.write(`{"command":"console"}\n\x09\0\0\0\0`); // frames that are none
      else if (i % 6 === 4) socket.write('[1,2\n'.repeat(10_000)); // nonsense
      return socket; // the others say nothing
    });
    for (let i = 0; i < 50; i++) {
      running.child.stdin!.write(`line ${i}\n`);
      await running.shows(`echo: line ${i}\n`);
    }
    running.child.stdin!.write('burst 2000\nbursting\n');
    await running.shows('echo: bursting\n');
    for (const socket of sockets) socket.destroy();
    let rows: Row[] = [];
    while (rows[0]?.state !== 'running') rows = await ps();
    expect(rows).toMatchObject([{ name: 'web', pid: running.child.pid, state: 'running' }]);
    running.child.stdin!.write('quit\n');
    expect(await running.ended).toMatchObject({ code: 0, stderr: '' });
    expect(readdirSync(runtime)).toEqual([]);
  },
);
