/** Programs that have reached their limit of open files: whatever step of a start meets it says how to raise it. */
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { scratchFolder } from './support/disks.js';
import { guestFile, whyNoKvm } from './support/guests.js';

const scratch = scratchFolder();

test.skipIf(whyNoKvm !== undefined)('a start with too few descriptors left fails with the remedy, at each step', () => {
  const options = {
    memory: '32M',
    console: { device: 'virtio' },
    disks: [{ path: scratch.file('disk.img', 1 << 20), ephemeral: true }],
    boot: { kernel: guestFile('hello') },
  };
  // Ever more descriptors are left, so that each step that needs one is the first without, code that is loaded included.
  const script = `
    import { closeSync, openSync } from 'node:fs';
    import { VirtualMachine } from 'tsvmm';
    for (let left = 0; left < 64; left++) {
      const taken = [];
      try { for (;;) taken.push(openSync('/dev/null')); } catch {}
      for (let i = 0; i < left; i++) closeSync(taken.pop());
      let ended;
      try {
        const exit = await (await VirtualMachine.start(${JSON.stringify(options)})).exited;
        ended = exit.error ?? exit;
      } catch (error) { ended = error; }
      for (const fd of taken) closeSync(fd);
      console.log(JSON.stringify({ reason: ended.reason, code: ended.code, message: ended.message, hint: ended.hint }));
      if (ended.reason === 'power-off') break;
    }`;
  const { stdout, stderr } = spawnSync(
    'sh',
    ['-c', 'ulimit -n 128; exec "$0" "$@"', process.execPath, '--input-type=module', '-e', script],
    { cwd: new URL('../..', import.meta.url), encoding: 'utf8', timeout: 60_000 },
  );
  expect(stderr).toBe('');
  const ends: { reason?: string; code?: string; message?: string; hint?: string }[] = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(ends.pop()).toEqual({ reason: 'power-off' });
  expect(new Set(ends.map(({ code }) => code)).size).toBeGreaterThan(2);
  for (const { code, message, hint } of ends) expect([code, message, hint]).toEqual([code, message, ulimit]);
});

const ulimit = expect.stringContaining('ulimit -n');
