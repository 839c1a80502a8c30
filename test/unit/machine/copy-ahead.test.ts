/** In which order memory is protected and copied before a freeze, and what becomes of it when something comes in between. */
import { describe, expect, test, vi } from 'vitest';
import { CopyAhead } from '../../../src/machine/copy-ahead.js';
import type { DataPaths } from '../../../src/machine/data-paths.js';
import { Ownership } from '../../../src/machine/ownership.js';
import type { CopyJob } from '../../../src/memory/copy-job.js';
import type { GuestRam } from '../../../src/memory/ram.js';

const copies = vi.hoisted(() => ({ copy: async (_job: unknown): Promise<void> => {}, released: 0 }));
vi.mock('../../../src/threads/memory-copy.js', () => ({
  MemoryCopier: class {
    static start = async () => new this();
    copy = (job: unknown) => copies.copy(job);
    [Symbol.dispose](): void {
      copies.released++;
    }
  },
}));

const MiB = 2 ** 20;
const job = (bytes: number): CopyJob => ({
  address: 0,
  fd: -1,
  chunks: new Float64Array(new SharedArrayBuffer(16)).fill(bytes),
  next: new Int32Array(new SharedArrayBuffer(4)),
  again: false,
});

/** A machine that writes so many bytes before each round, and what is done with it. */
function machine(...rounds: number[]) {
  const log: string[] = [];
  const hooks: Record<string, () => unknown> = {};
  const say = (what: string) => {
    log.push(what);
    return hooks[what]?.();
  };
  const ram = {
    size: 600 * MiB,
    hasWritten: (bytes: number) => (rounds[0] ?? 0) >= bytes,
    beginCopyAhead: () => true,
    protect: (offset: number) => say(`protect ${offset / MiB}`),
    copyAhead: () => job(rounds.shift() ?? 0),
    abandonCopyAhead: () => say('abandon'),
    takeAside: () => undefined,
  } as unknown as GuestRam;
  const dataPaths = {
    quiesce: async () => say('quiesce'),
    resume: async () => say('resume'),
  } as unknown as DataPaths;
  copies.released = 0;
  copies.copy = async () => {
    await say('copy');
  };
  const owned = new Ownership();
  return { ahead: new CopyAhead(ram, dataPaths, owned), owned, log, hooks };
}

const limits = { signal: undefined, timeout: 1000 };
const round = ['quiesce', 'protect 0', 'protect 256', 'protect 512', 'resume', 'copy'];
const protection = round.slice(0, -1);

describe('what is copied ahead', () => {
  test('is protected while no request is under way, and copied when the devices go on', async () => {
    const { ahead, log } = machine(100 * MiB, 7 * MiB);
    await ahead.run(limits);
    expect(log).toEqual([...round, ...round]);
    expect(copies.released).toBe(0);
    ahead.end();
    expect(copies.released).toBe(1);
  });

  test('is copied in three rounds at most, and in fewer where the guest writes as fast', async () => {
    const { ahead, log } = machine(4000 * MiB, 1000 * MiB, 400 * MiB, 100 * MiB);
    await ahead.run(limits);
    expect(log).toEqual([...round, ...round, ...round]);
    const fast = machine(1000 * MiB, 900 * MiB, 800 * MiB);
    await fast.ahead.run(limits);
    expect(fast.log).toEqual([...round, ...round]);
  });

  test('is not begun for little', async () => {
    const { ahead, log } = machine(7 * MiB);
    await ahead.run(limits);
    expect(log).toEqual([]);
  });

  test.each(['quiesce', 'protect 256', 'resume'])('is not copied when the machine ends during "%s"', async (when) => {
    const { ahead, owned, log, hooks } = machine(100 * MiB);
    let ended: Promise<void> | undefined;
    hooks[when] = () => {
      ended = owned.close();
    };
    await ahead.run(limits);
    await ended;
    expect(log).not.toContain('copy');
    expect(log.filter((what) => what === 'resume')).toHaveLength(1);
    expect(log).toContain('abandon');
    await ahead.run(limits);
    expect(log.filter((what) => what === 'quiesce')).toHaveLength(1);
  });

  test('keeps the end of the machine waiting until nobody copies', async () => {
    const { ahead, owned, log, hooks } = machine(100 * MiB);
    let copied = (): void => {};
    hooks['copy'] = () =>
      new Promise<void>((resolve) => {
        copied = resolve;
      });
    const running = ahead.run(limits);
    await expect.poll(() => log.includes('copy')).toBe(true);
    let isClosed = false;
    const closing = owned.close().then(() => {
      isClosed = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([isClosed, log.includes('abandon')]).toEqual([false, false]);
    copied();
    await Promise.all([closing, running]);
    expect(log.slice(-1)).toEqual(['abandon']);
  });

  test.each(['quiesce', 'resume', 'copy'])('is given up with the call during "%s"', async (when) => {
    const { ahead, log, hooks } = machine(100 * MiB);
    const controller = new AbortController();
    hooks[when] = () => controller.abort(new Error('enough'));
    await expect(ahead.run({ ...limits, signal: controller.signal })).rejects.toThrow('enough');
    expect(log.includes('copy')).toBe(when === 'copy');
    expect(log.slice(-1)).toEqual(['abandon']);
  });

  test('is given up when the devices do not come to rest, which go on', async () => {
    const { ahead, log, hooks } = machine(100 * MiB);
    hooks['quiesce'] = () => new Promise(() => {});
    await expect(ahead.run({ ...limits, timeout: 10 })).rejects.toMatchObject({ code: 'ERR_TSVMM_TIMEOUT' });
    expect(log).toEqual(['quiesce', 'resume', 'abandon']);
  });

  test('is left to the freeze when it cannot be copied', async () => {
    const { ahead, log, hooks } = machine(100 * MiB);
    hooks['copy'] = () => Promise.reject(new Error('no room'));
    await ahead.run(limits);
    expect(log).toEqual([...protection, 'copy', 'abandon']);
    expect(copies.released).toBe(1);
  });
});
