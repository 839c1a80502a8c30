/**
 * Devices on a host that forbids io_uring, as the default seccomp profiles of container runtimes do. This process forbids
 * it to itself, for good, before tsvmm looks.
 */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { native } from '../../src/host/addon.js';
import { Sys, syscall } from '../../src/host/system.js';
import { openTargets } from '../support/descriptors.js';
import { accessModes, pattern, scratchFolder, sectorBytes } from './support/disks.js';
import { runGuest, startGuest, whyNoKvm } from './support/guests.js';
import { runClean } from './support/outcome.js';

const scratch = scratchFolder();

/** linux/seccomp.h, linux/filter.h, linux/prctl.h. */
const SYS_PRCTL = 157;
const SYS_SECCOMP = 317;
const PR_SET_NO_NEW_PRIVS = 38;
const SECCOMP_SET_MODE_FILTER = 1;
const RET_ALLOW = 0x7fff_0000;
const RET_EPERM = 0x0005_0001;
const LOAD_WORD = 0x20;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;

/** A filter for this thread, and those it starts: io_uring_setup answers EPERM. */
function forbidIoUring(): void {
  const program: [code: number, ifTrue: number, ifFalse: number, operand: number][] = [
    [LOAD_WORD, 0, 0, 0], // seccomp_data.nr
    [JUMP_IF_EQUAL, 0, 1, Sys.ioUringSetup],
    [RETURN, 0, 0, RET_EPERM],
    [RETURN, 0, 0, RET_ALLOW],
  ];
  const filter = new DataView(new ArrayBuffer(program.length * 8));
  program.forEach(([code, ifTrue, ifFalse, operand], i) => {
    filter.setUint16(i * 8, code, true);
    filter.setUint8(i * 8 + 2, ifTrue);
    filter.setUint8(i * 8 + 3, ifFalse);
    filter.setUint32(i * 8 + 4, operand, true);
  });
  const header = new DataView(new ArrayBuffer(16)); // struct sock_fprog
  header.setUint16(0, program.length, true);
  header.setBigUint64(8, BigInt(native().addressOf(new Uint8Array(filter.buffer))), true);
  expect(syscall(SYS_PRCTL, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).toBe(0);
  expect(syscall(SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, 0, new Uint8Array(header.buffer))).toBe(0);
  expect(syscall(Sys.ioUringSetup, 1, new Uint8Array(120))).toBe(-1);
}

/** What the anonymous descriptors of this process are: "[eventpoll]", "[io_uring]", ... */
const anonymous = (): string[] => openTargets().flatMap((target) => /^anon_inode:(.*)$/.exec(target)?.[1] ?? []);

describe.skipIf(whyNoKvm !== undefined)('without io_uring', () => {
  beforeAll(forbidIoUring);

  test.each([
    'by=msix',
    'by=intx event-index',
    'by=poll indirect segments=3',
    'queue-size=256 depth=64 chunk=1',
    'segments=32 chunk=16 depth=8 indirect',
    'decline=flush',
  ])('a disk is written by the guest as the host then reads it (%s)', async (how) => {
    const path = scratch.file('written.img', 128 * sectorBytes);
    await runClean('virtio-blk', { disks: [path], cmdline: `${how} start=8 sectors=64 seed=77` });
    const zeros = (sectors: number) => Buffer.alloc(sectors * sectorBytes);
    expect(readFileSync(path).equals(Buffer.concat([zeros(8), pattern(8, 64, 77), zeros(56)]))).toBe(true);
  });

  test.each(['direct', 'unsafe'] as const)('a disk can be written with cache %s', async (cache) => {
    const path = scratch.file('cache.img', 128 * sectorBytes);
    await runClean('virtio-blk', { disks: [{ path, cache }], cmdline: 'segments=3 seed=77 sectors=128' });
    expect(readFileSync(path).equals(pattern(0, 128, 77))).toBe(true);
  });

  test('there really is none', async () => {
    await using _vm = await startGuest('halt', { disks: [scratch.file('idle.img', sectorBytes)] });
    await expect.poll(anonymous).toContain('[eventpoll]');
    expect(anonymous()).not.toContain('[io_uring]');
  });

  test('a disk can be read-only or ephemeral', async () => {
    const content = pattern(0, 64, 9);
    const path = scratch.file('kept.img', content);
    await runClean('virtio-blk', { disks: [{ path, readOnly: true }], cmdline: 'seed=9 tests=verify,read-only,range' });
    await runClean('virtio-blk', { disks: [{ path, ephemeral: true }], cmdline: 'seed=10' });
    expect(readFileSync(path).equals(content)).toBe(true);
  });

  test('entropy and the virtio console work', async () => {
    await runClean('virtio-rng', { cmdline: 'requests=4' });
    await using vm = await startGuest('virtio-console', { console: { device: 'virtio' } });
    await vm.console.waitFor('hello from virtio-console');
    vm.console.write('text\nburst 100\nquit\n');
    await vm.console.waitFor('echo: text\r\n');
    // Apart: what the guest says on its serial port at the end may come in between.
    await vm.console.waitFor('burst line 99\r\n');
    await vm.console.waitFor('bye\r\n');
    expect(await vm.exited).toMatchObject({ debugExit: 0 });
  });

  test('a disk is free again after a kill in the middle of its I/O (T53)', async () => {
    const path = scratch.file('killed.img', 4096 * sectorBytes);
    for (const ms of [0, 30, 90]) {
      const vm = await startGuest('virtio-blk', { disks: [path], cmdline: 'sectors=4096 depth=16 chunk=64' });
      await new Promise((resolve) => setTimeout(resolve, ms));
      expect(await vm.kill()).toMatchObject({ reason: 'killed' });
    }
    expect(accessModes(path)).toEqual([]);
    await runClean('virtio-blk', { disks: [path], cmdline: 'tests=flush' });
  });

  test('a hostile guest survives, and its machine too (T1-T12)', async () => {
    const disks = [scratch.file('victim.img', 256 * sectorBytes)];
    const attacks = 'data_huge,data_2_gib,loop_of_two,same_head_twice,doorbell_flood,reset_with_work_in_flight';
    const { output, exit } = await runGuest('hostile', {
      disks,
      cmdline: `seed=21 iterations=300 parts=rings,status patience=5 only=${attacks}`,
    });
    expect(exit, output).toMatchObject({ debugExit: 0 });
    expect(output).toContain('hostile survived: seed 21');
  });
});
