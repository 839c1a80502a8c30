import { afterEach, describe, expect, test, vi } from 'vitest';
import { openEngine } from '../../../src/host/choose-engine.js';
import { Errno } from '../../../src/host/errno.js';
import { IoUringEngine } from '../../../src/host/io-uring.js';

const noHelper = () => {
  throw new Error('no helper was wanted');
};
afterEach(() => vi.restoreAllMocks());

describe('where io_uring is forbidden', () => {
  test.each([Errno.EPERM, Errno.ENOSYS, Errno.ENOMEM])('errno %i: epoll serves', (errno) => {
    vi.spyOn(IoUringEngine, 'open').mockReturnValue(-errno);
    const engine = openEngine('auto', noHelper);
    expect(engine.kind).toBe('epoll');
    engine.close();
  });

  test('asking for it by name is an error with a remedy', () => {
    vi.spyOn(IoUringEngine, 'open').mockReturnValue(-Errno.EPERM);
    expect(() => openEngine('io_uring', noHelper)).toThrow(/not available: EPERM/);
  });
});

test('epoll can be asked for', () => {
  const open = vi.spyOn(IoUringEngine, 'open');
  const engine = openEngine('epoll', noHelper);
  expect(engine.kind).toBe('epoll');
  expect(open).not.toHaveBeenCalled();
  engine.close();
});
