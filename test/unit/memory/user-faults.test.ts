/** Memory that is supplied when it is touched, by the kernel's own rules. */
import { afterEach, describe, expect, test } from 'vitest';
import { native } from '../../../src/host/addon.js';
import { Errno } from '../../../src/host/errno.js';
import { closeFd, Sys, syscall } from '../../../src/host/system.js';
import { GuestRam } from '../../../src/memory/ram.js';
import {
  cutOff,
  emptyFile,
  FaultReader,
  openUserFaults,
  registerMissing,
  supply,
} from '../../../src/memory/user-faults.js';
import { whyNoUserFaults } from '../../support/user-faults.js';

const page = 4096;
const pages = 8;

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});

function setUp() {
  const ram = GuestRam.map(pages * page, { hugepages: 'off' });
  const fd = openUserFaults();
  const empty = emptyFile();
  closers.push(
    () => ram.release(),
    () => void closeFd(fd),
    () => void closeFd(empty),
  );
  return { ram, fd, empty, at: (index: number): number => ram.hostAddress + index * page };
}

/** By the kernel, in our name: it does not wait for memory, it fails. */
function isThere(address: number): boolean {
  const file = native().openFd(Sys.memfdCreate, Buffer.from('there\0'), 0);
  try {
    return syscall(Sys.pwrite64, file, address, page, 0) === page;
  } finally {
    closeFd(file);
  }
}

describe.skipIf(whyNoUserFaults !== undefined)('memory on demand', () => {
  test('has what it is supplied with, and what was there stays', () => {
    const { ram, fd, at } = setUp();
    registerMissing(fd, ram.hostAddress, ram.size);
    expect(supply(fd, at(2), Buffer.alloc(page, 'a'))).toBe(0);
    expect(supply(fd, at(0), Buffer.alloc(4 * page, 'b'))).toBe(0); // over the one that is there
    const found = Buffer.alloc(4 * page);
    native().copyOut(at(0), found);
    expect([0, 1, 2, 3].map((index) => found.toString('latin1', index * page, index * page + 2))).toEqual([
      'bb',
      'bb',
      'aa',
      'bb',
    ]);
    expect(new FaultReader(fd).read(() => {})).toBe(false);
  });

  test('outside of what is registered is zeroes', () => {
    const { ram, fd, at } = setUp();
    registerMissing(fd, at(4), 4 * page);
    const found = Buffer.alloc(4 * page, 1);
    native().copyOut(ram.hostAddress, found);
    expect(found.equals(Buffer.alloc(4 * page))).toBe(true);
  });

  test('that was taken away is nobody’s any more', () => {
    const { ram, fd, empty, at } = setUp();
    registerMissing(fd, ram.hostAddress, ram.size);
    supply(fd, at(1), Buffer.alloc(page, 'a'));
    expect(isThere(at(1))).toBe(true);
    cutOff(fd, empty, ram.hostAddress, ram.size);
    for (let index = 0; index < pages; index++) expect(isThere(at(index))).toBe(false);
    expect(supply(fd, at(3), Buffer.alloc(page, 'a'))).toBe(-Errno.ENOENT);
  });
});
