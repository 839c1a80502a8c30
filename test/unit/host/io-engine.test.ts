import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { native } from '../../../src/host/addon.js';
import { type IoEngine, POLLIN } from '../../../src/host/engine.js';
import { FallocateMode, Operation } from '../../../src/host/engine-slots.js';
import { Errno } from '../../../src/host/errno.js';
import { HostBlock } from '../../../src/host/host-block.js';
import { closeFd, eventFd } from '../../../src/host/system.js';
import { bytesPerOperation } from '../support/allocation.js';
import { engineKinds, ioUringMissing, Recorder, type TestEngine, testEngine, turnUntil } from '../support/engines.js';
import { begin } from '../support/slots.js';

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-engine-'));
afterAll(() => rmSync(directory, { recursive: true }));
if (ioUringMissing) console.warn(`skipped: ${ioUringMissing}`);

/** An iovec array in `block` at `at`. */
function vectors(block: HostBlock, at: number, ...parts: [address: number, length: number][]): number {
  const view = new DataView(block.buffer);
  parts.forEach(([address, length], i) => {
    view.setBigUint64(at + i * 16, BigInt(address), true);
    view.setBigUint64(at + i * 16 + 8, BigInt(length), true);
  });
  return block.address + at;
}

describe.each(engineKinds)('%s', (kind) => {
  const maybe = test.skipIf(kind === 'io_uring' && ioUringMissing !== undefined);
  let held: TestEngine;
  let engine: IoEngine;
  let block: HostBlock;
  let bytes: Uint8Array;
  const fds: number[] = [];
  const file = join(directory, kind);
  const content = randomBytes(1 << 20);

  beforeAll(async () => {
    if (kind === 'io_uring' && ioUringMissing) return;
    held = await testEngine(kind);
    engine = held.engine;
    block = new HostBlock(1 << 21);
    bytes = new Uint8Array(block.buffer);
  });
  afterEach(() => {
    for (const fd of fds.splice(0)) closeFd(fd);
  });
  afterAll(async () => {
    await held?.close();
    block?.close();
  });

  const open = (flags: number): number => {
    const fd = openSync(file, flags | constants.O_CREAT, 0o600);
    fds.push(fd);
    return fd;
  };
  const filled = (): number => {
    const fd = open(constants.O_RDWR);
    ftruncateSync(fd, 0);
    writeSync(fd, content, 0, content.length, 0);
    return fd;
  };
  const event = (): number => {
    const fd = eventFd();
    fds.push(fd);
    return fd;
  };

  maybe('reads and writes where it is told, alone and by vector', () => {
    const fd = filled();
    const recorder = new Recorder();
    const slots = engine.claim(recorder, 4)!;
    slots.read(0, fd, block.address, 4096, 8192);
    const parts = vectors(block, 1 << 20, [block.address + 8192, 100], [block.address + 20_000, 1000]);
    begin(slots, 1, Operation.readVector, fd, parts, 2, 77, 1100);
    turnUntil(engine, recorder, 2);
    expect(recorder.completions.sort()).toEqual([
      [0, 4096],
      [1, 1100],
    ]);
    expect(Buffer.compare(bytes.subarray(0, 4096), content.subarray(8192, 12_288))).toBe(0);
    expect(Buffer.compare(bytes.subarray(8192, 8292), content.subarray(77, 177))).toBe(0);
    expect(Buffer.compare(bytes.subarray(20_000, 21_000), content.subarray(177, 1177))).toBe(0);

    bytes.fill(0xa5, 0, 512);
    bytes.fill(0x5a, 1024, 1536);
    slots.write(2, fd, block.address, 512, 512, 2 /* RWF_DSYNC */);
    const swapped = vectors(block, 1 << 20, [block.address + 1024, 512], [block.address, 256]);
    begin(slots, 3, Operation.writeVector, fd, swapped, 2, 65_536, 768);
    turnUntil(engine, recorder, 4);
    const now = readFileSync(file);
    expect(now.subarray(512, 1024).every((byte) => byte === 0xa5)).toBe(true);
    expect(now.subarray(65_536, 66_048).every((byte) => byte === 0x5a)).toBe(true);
    expect(now.subarray(66_048, 66_304).every((byte) => byte === 0xa5)).toBe(true);
    expect(Buffer.compare(now.subarray(66_304), content.subarray(66_304))).toBe(0);
    slots.release();
  });

  maybe('brief writes end as others do, also while the kernel has none of them', () => {
    const fd = filled();
    const recorder = new Recorder();
    const slots = engine.claim(recorder, 3)!;
    bytes.fill(0x77, 0, 8192);
    begin(slots, 0, Operation.briefWrite, fd, block.address, 4096, 4096);
    const twice = vectors(block, 1 << 20, [block.address, 4096], [block.address, 4096]);
    begin(slots, 1, Operation.briefWriteVector, fd, twice, 2, 16_384, 8192);
    begin(slots, 2, Operation.briefWrite, 1 << 20, block.address, 4096, 0);
    expect(engine.pending).toBe(true);
    turnUntil(engine, recorder, 3);
    expect(engine.pending).toBe(false);
    expect(recorder.completions.sort()).toEqual([
      [0, 4096],
      [1, 8192],
      [2, -9], // EBADF
    ]);
    const now = readFileSync(file);
    for (const at of [4096, 16_384, 20_480])
      expect(now.subarray(at, at + 4096).every((byte) => byte === 0x77)).toBe(true);
    expect(Buffer.compare(now.subarray(0, 4096), content.subarray(0, 4096))).toBe(0);
    slots.release();
  });

  maybe('answers a short read at the end of a file, 0 past it, and errors as -errno', () => {
    const fd = filled();
    const readOnly = open(constants.O_RDONLY);
    const recorder = new Recorder();
    const slots = engine.claim(recorder, 4)!;
    slots.read(0, fd, block.address, 4096, content.length - 100);
    slots.read(1, fd, block.address + 4096, 4096, content.length + 4096);
    slots.write(2, readOnly, block.address, 512, 0);
    slots.read(3, 1_000_000, block.address, 512, 0);
    turnUntil(engine, recorder, 4);
    expect(recorder.completions.sort()).toEqual([
      [0, 100],
      [1, 0],
      [2, -9],
      [3, -9],
    ]);
    slots.release();
  });

  maybe('offsets beyond 4 GiB reach their place', () => {
    const fd = filled();
    const offset = 5 * 2 ** 30 + 512;
    const recorder = new Recorder();
    const slots = engine.claim(recorder, 1)!;
    bytes.fill(0x77, 0, 512);
    slots.write(0, fd, block.address, 512, offset);
    turnUntil(engine, recorder, 1);
    bytes.fill(0, 0, 512);
    slots.read(0, fd, block.address, 512, offset);
    turnUntil(engine, recorder, 2);
    expect(bytes.subarray(0, 512).every((byte) => byte === 0x77)).toBe(true);
    slots.release();
  });

  maybe('T39: copies no more in one batch than others can wait for, and all of it in the end', () => {
    const fd = filled();
    const recorder = new Recorder();
    const count = 64;
    const slots = engine.claim(recorder, count)!;
    bytes.fill(0);
    for (let slot = 0; slot < count; slot++) slots.read(slot, fd, block.address, content.length, 0);
    let turns = 0;
    for (; slots.outstanding > 0; turns++) engine.turn(true);
    expect(turns).toBeGreaterThan(1);
    expect(recorder.completions.map(([slot]) => slot).sort((a, b) => a - b)).toEqual([...Array(count).keys()]);
    expect(recorder.completions.every(([, result]) => result === content.length)).toBe(true);
    expect(Buffer.compare(bytes.subarray(0, content.length), content)).toBe(0);
    slots.release();
  });

  maybe('T39: cancels what waits behind copies', () => {
    const fd = filled();
    const recorder = new Recorder();
    const slots = engine.claim(recorder, 17)!;
    for (let slot = 0; slot < 16; slot++) slots.read(slot, fd, block.address, content.length, 0);
    slots.eventRead(16, event());
    slots.cancel(16);
    turnUntil(engine, recorder, 17);
    expect(recorder.completions.find(([slot]) => slot === 16)).toEqual([16, -Errno.ECANCELED]);
    slots.release();
  });

  maybe('punches holes and makes zeroes, without a change of size', () => {
    const fd = filled();
    const recorder = new Recorder();
    const slots = engine.claim(recorder, 3)!;
    const { punchHole, zeroRange } = FallocateMode;
    const before = fstatSync(fd).blocks;
    slots.allocate(0, fd, punchHole, 65_536, 131_072);
    slots.allocate(1, fd, punchHole, content.length - 4096 - 7, 2 ** 33); // beyond the end, in part
    slots.allocate(2, 1_000_000, punchHole, 0, 4096);
    turnUntil(engine, recorder, 3);
    expect(recorder.completions.sort()).toEqual([
      [0, 0],
      [1, 0],
      [2, -Errno.EBADF],
    ]);
    const expected = Buffer.from(content);
    expected.fill(0, 65_536, 65_536 + 131_072);
    expected.fill(0, content.length - 4096 - 7);
    expect(readFileSync(file).equals(expected)).toBe(true);
    expect((before - fstatSync(fd).blocks) * 512).toBeGreaterThanOrEqual(131_072 + 4096);
    slots.allocate(0, fd, zeroRange, 300_000, 100_001);
    turnUntil(engine, recorder, 4);
    // tmpfs has no ZERO_RANGE.
    const result = recorder.completions[3]![1];
    if (result !== -Errno.EOPNOTSUPP) {
      expect(result).toBe(0);
      expected.fill(0, 300_000, 400_001);
    }
    expect(readFileSync(file).equals(expected)).toBe(true);
    slots.release();
  });

  maybe('allocates beyond 4 GiB', () => {
    const fd = filled();
    const at = 5 * 2 ** 30;
    ftruncateSync(fd, 16 * 2 ** 30);
    writeSync(fd, content, 0, 8192, at);
    const recorder = new Recorder();
    const slots = engine.claim(recorder, 1)!;
    slots.allocate(0, fd, FallocateMode.punchHole, at + 4096, 6 * 2 ** 30);
    turnUntil(engine, recorder, 1);
    expect(recorder.completions).toEqual([[0, 0]]);
    const now = Buffer.alloc(8192);
    readSync(fd, now, 0, now.length, at);
    expect(now.equals(Buffer.concat([content.subarray(0, 4096), Buffer.alloc(4096)]))).toBe(true);
    slots.release();
  });

  maybe('syncs data and metadata', () => {
    const fd = filled();
    const recorder = new Recorder();
    const slots = engine.claim(recorder, 2)!;
    slots.sync(0, fd);
    slots.dataSync(1, fd);
    turnUntil(engine, recorder, 2);
    expect(recorder.completions.map(([, result]) => result)).toEqual([0, 0]);
    slots.release();
  });

  maybe('an eventfd read waits, resets the counter, and can be armed again from its completion', () => {
    const fd = event();
    const recorder = new Recorder();
    const slots = engine.claim(recorder, 1)!;
    slots.eventRead(0, fd);
    expect(engine.turn(false)).toBe(0);
    native().ring(fd);
    native().ring(fd);
    turnUntil(engine, recorder, 1);
    expect(recorder.completions).toEqual([[0, 8]]);
    // Two rings were one completion; and the counter is zero.
    recorder.after = () => slots.eventRead(0, fd);
    slots.eventRead(0, fd);
    expect(engine.turn(false)).toBe(0);
    for (let i = 2; i < 10; i++) {
      native().ring(fd);
      turnUntil(engine, recorder, i);
    }
    // A ring between the completion and the next turn is not lost.
    recorder.after = () => native().ring(fd);
    native().ring(fd);
    turnUntil(engine, recorder, 10);
    recorder.after = undefined;
    slots.eventRead(0, fd);
    turnUntil(engine, recorder, 11);
    slots.release();
  });

  maybe('polls a descriptor by level, once', () => {
    const fd = event();
    const recorder = new Recorder();
    const slots = engine.claim(recorder, 1)!;
    slots.poll(0, fd, POLLIN);
    expect(engine.turn(false)).toBe(0);
    native().ring(fd);
    turnUntil(engine, recorder, 1);
    expect(recorder.completions[0]![1] & POLLIN).toBe(POLLIN);
    expect(engine.turn(false)).toBe(0);
    slots.poll(0, fd, POLLIN);
    turnUntil(engine, recorder, 2);
    slots.release();
  });

  maybe('cancels what waits; the slot can be used again', () => {
    const first = event();
    const second = event();
    const third = event();
    const recorder = new Recorder();
    const slots = engine.claim(recorder, 3)!;
    slots.eventRead(0, first);
    slots.poll(1, second, POLLIN);
    engine.turn(false);
    slots.cancel(0);
    slots.cancel(0);
    slots.cancel(1);
    slots.cancel(2); // idle: nothing happens
    slots.eventRead(2, third);
    slots.cancel(2); // before it was ever submitted
    turnUntil(engine, recorder, 3);
    expect(recorder.completions.sort()).toEqual([
      [0, -Errno.ECANCELED],
      [1, -Errno.ECANCELED],
      [2, -Errno.ECANCELED],
    ]);
    expect(slots.outstanding).toBe(0);
    slots.eventRead(0, first);
    engine.turn(false);
    native().ring(first);
    turnUntil(engine, recorder, 4);
    expect(recorder.completions[3]).toEqual([0, 8]);
    slots.release();
  });

  maybe('closes a descriptor', () => {
    const fd = openSync(file, constants.O_RDONLY | constants.O_CREAT);
    const recorder = new Recorder();
    const slots = engine.claim(recorder, 1)!;
    slots.closeFd(0, fd);
    turnUntil(engine, recorder, 1);
    expect(recorder.completions).toEqual([[0, 0]]);
    expect(() => closeSync(fd)).toThrow(/EBADF/);
    slots.release();
  });

  maybe('performs more operations at once than a submission queue holds', () => {
    const fd = filled();
    const recorder = new Recorder();
    const slots = engine.claim(recorder, 900)!;
    for (let i = 0; i < 900; i++) slots.read(i, fd, block.address + i * 1024, 1024, i * 1024);
    turnUntil(engine, recorder, 900);
    expect(recorder.completions.every(([, result]) => result === 1024)).toBe(true);
    expect(Buffer.compare(bytes.subarray(0, 900 * 1024), content.subarray(0, 900 * 1024))).toBe(0);
    slots.release();
  });

  maybe('claims are disjoint, bounded, and free room when released', () => {
    const recorder = new Recorder();
    const all = [];
    for (let slots = engine.claim(recorder, 100); slots !== undefined; slots = engine.claim(recorder, 100))
      all.push(slots);
    expect(all.length).toBeGreaterThanOrEqual(10);
    const ranges = all.map(({ base, count }) => [base, base + count] as const).sort((a, b) => a[0] - b[0]);
    for (let i = 1; i < ranges.length; i++) expect(ranges[i]![0]).toBeGreaterThanOrEqual(ranges[i - 1]![1]);
    all[3]!.release();
    const again = engine.claim(recorder, 100)!;
    expect(again.base).toBe(all[3]!.base);
    all[3] = again;
    for (const slots of all) slots.release();
  });

  maybe('refuses a slot that is busy, outside the claim, or released while outstanding', () => {
    const fd = event();
    const recorder = new Recorder();
    const slots = engine.claim(recorder, 2)!;
    slots.eventRead(0, fd);
    expect(() => slots.eventRead(0, fd)).toThrow(/in use/);
    expect(() => slots.eventRead(2, fd)).toThrow(RangeError);
    expect(() => slots.eventRead(-1, fd)).toThrow(RangeError);
    expect(() => slots.release()).toThrow(/outstanding/);
    slots.cancel(0);
    turnUntil(engine, recorder, 1);
    slots.release();
    expect(() => slots.eventRead(0, fd)).toThrow(/not claimed/);
  });

  maybe('a client that throws does not disturb the others', () => {
    const fd = filled();
    const broken = new Recorder();
    broken.after = () => {
      throw new Error('broken client');
    };
    const recorder = new Recorder();
    const bad = engine.claim(broken, 1)!;
    const good = engine.claim(recorder, 1)!;
    bad.read(0, fd, block.address, 512, 0);
    good.read(0, fd, block.address + 512, 512, 0);
    expect(() => {
      turnUntil(engine, broken, 2);
    }).toThrow('broken client');
    turnUntil(engine, recorder, 1);
    expect(bad.outstanding + good.outstanding).toBe(0);
    bad.release();
    good.release();
  });

  maybe('operations make no garbage', { timeout: 60_000 }, () => {
    const fd = filled();
    const bell = event();
    const recorder = { onCompletion: () => {} };
    const slots = engine.claim(recorder, 65 + 16)!;
    const run = (operations: number) => {
      for (let done = 0; done < operations; ) {
        for (let i = 0; i < 64; i++) if (!slots.isBusy(i)) slots.read(i, fd, block.address + i * 64, 64, i * 4096);
        for (let i = 0; i < 16; i++)
          if (!slots.isBusy(65 + i)) begin(slots, 65 + i, Operation.briefWrite, fd, block.address, 64, i * 4096);
        if (!slots.isBusy(64)) slots.eventRead(64, bell);
        native().ring(bell);
        done += engine.turn(true);
      }
      while (slots.outstanding > (slots.isBusy(64) ? 1 : 0)) engine.turn(true);
    };
    // Numbers beyond 31 bits may be boxed on their way; there is no object, array or closure per operation.
    expect(bytesPerOperation(run)).toBeLessThan(40);
    if (slots.isBusy(64)) slots.cancel(64);
    while (slots.outstanding > 0) engine.turn(true);
    slots.release();
  });
});

describe.skipIf(ioUringMissing !== undefined)('io_uring where the kernel does not wait on an O_NONBLOCK file', () => {
  test('polls and reads again', async () => {
    // Eventfds were like this before Linux 5.18; an inotify descriptor is to this day. 8 bytes are too few for its events.
    const held = await testEngine('io_uring');
    const { engine } = held;
    const IN_NONBLOCK = 0o4000;
    const IN_CREATE = 0x100;
    const fd = native().syscall(294 /* inotify_init1 */, IN_NONBLOCK);
    const watched = mkdtempSync(join(directory, 'watched'));
    expect(native().syscall(254 /* inotify_add_watch */, fd, Buffer.from(`${watched}\0`), IN_CREATE)).toBeGreaterThan(
      0,
    );
    const recorder = new Recorder();
    const slots = engine.claim(recorder, 1)!;
    slots.eventRead(0, fd);
    for (let i = 0; i < 10; i++) engine.turn(false);
    expect(recorder.completions).toEqual([]);
    writeFileSync(join(watched, 'file'), '');
    turnUntil(engine, recorder, 1);
    expect(recorder.completions).toEqual([[0, -Errno.EINVAL]]);
    slots.eventRead(0, eventFd());
    slots.cancel(0);
    turnUntil(engine, recorder, 2);
    slots.release();
    closeFd(fd);
    await held.close();
  });
});

describe('the helper of the epoll engine', () => {
  test('when it dies, what it had fails with EIO and the next operation gets another', async () => {
    const held = await testEngine('epoll', 64);
    const { engine } = held;
    const file = openSync(join(directory, 'helped'), constants.O_RDWR | constants.O_CREAT);
    const recorder = new Recorder();
    const slots = engine.claim(recorder, 2)!;
    slots.dataSync(0, file);
    turnUntil(engine, recorder, 1);
    const first = held.helpers[0]!;
    await first.terminate();
    slots.dataSync(1, file);
    engine.turn(false);
    // Its death is told by the event loop, which a test owns.
    while (recorder.completions.length < 2) {
      await new Promise((resolve) => setImmediate(resolve));
      engine.turn(false);
    }
    expect([0, -Errno.EIO]).toContain(recorder.completions[1]![1]);
    slots.dataSync(0, file);
    turnUntil(engine, recorder, 3);
    expect(recorder.completions[2]).toEqual([0, 0]);
    expect(held.helpers.length).toBe(2);
    closeSync(file);
    await held.close();
  });
});
