import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, mkdtempSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TsvmmError } from '../../../src/errors.js';
import { native } from '../../../src/host/addon.js';
import { type IoMachine, IoWorker, sharedIoWorker } from '../../../src/threads/io-handle.js';
import { blkConfig, blkShape } from '../../../src/virtio/blk/blk-format.js';
import { rngShape } from '../../../src/virtio/rng/rng.js';
import { type Bundle, bundle } from '../support/bundle.js';
import { engineKinds, ioUringMissing } from '../support/engines.js';
import { MachineBench } from '../support/machine-bench.js';
import { readable, writable } from '../support/mock-driver.js';

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-io-handle-'));
let worker: Bundle;
let helper: Bundle;
beforeAll(async () => {
  [worker, helper] = await Promise.all([bundle('src/threads/io-worker.ts'), bundle('src/threads/io-helper.ts')]);
});
afterAll(() => {
  worker.remove();
  helper.remove();
  rmSync(directory, { recursive: true });
});
if (ioUringMissing) console.warn(`skipped: ${ioUringMissing}`);

const RNG = 0;
const BLK = 1;
const diskSize = 1 << 20;
const content = randomBytes(diskSize);
const events = () => {
  const warnings: string[] = [];
  const failures: TsvmmError[] = [];
  return {
    warnings,
    failures,
    warning: (_source: string, device: string, message: string) => void warnings.push(`${device}: ${message}`),
    deviceFailed: (device: string, message: string) => void warnings.push(`${device} failed: ${message}`),
    failed: (error: TsvmmError) => void failures.push(error),
  };
};

let files = 0;
function machineWithDisk(name = 'test') {
  const path = join(directory, `disk${files++}`);
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT);
  writeSync(fd, content);
  const options = { name: 'blk0', size: diskSize, readOnly: false };
  const machine = new MachineBench(name, [
    { shape: rngShape('rng0'), spec: { kind: 'rng' } },
    {
      shape: blkShape(options),
      spec: { kind: 'blk', disk: { kind: 'file', fd, size: diskSize, readOnly: false }, id: 'x' },
      config: blkConfig(options),
    },
  ]);
  return {
    machine,
    close: () => {
      machine.close();
      closeSync(fd);
    },
  };
}

async function until(done: () => boolean): Promise<void> {
  for (let i = 0; !done(); i++) {
    if (i > 5000) throw new Error('it does not happen');
    await delay(1);
  }
}

function header(at: number): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32LE(at, 8);
  return bytes;
}

describe.each(engineKinds)('on %s', (engine) => {
  const maybe = test.skipIf(engine === 'io_uring' && ioUringMissing !== undefined);
  const start = () => new IoWorker({ url: worker.url, helper: helper.url, engine });

  maybe('serves machines from another thread, and gives them up', async () => {
    const io = start();
    expect(await io.engine).toBe(engine);
    const benches = [machineWithDisk('one'), machineWithDisk('two')];
    const attached: IoMachine[] = [];
    for (const { machine } of benches) attached.push(await io.attach(machine.attachment, events()));
    const drivers = benches.map(({ machine }) => machine.start(BLK)[0]!);
    for (let round = 0; round < 50; round++) {
      for (const [i, { machine }] of benches.entries()) {
        drivers[i]!.offer([readable(header(round)), writable(512), writable(1)]);
        machine.kick(BLK);
      }
      await until(() => drivers.every((driver) => driver.usedIndex === round + 1));
      for (const driver of drivers) {
        const [used] = driver.collect();
        expect(
          Buffer.from(driver.read(used!.buffers[1]!)).equals(content.subarray(round * 512, round * 512 + 512)),
        ).toBe(true);
      }
    }
    await attached[0]!.detach();
    drivers[1]!.offer([readable(header(1)), writable(512), writable(1)]);
    benches[1]!.machine.kick(BLK);
    await until(() => drivers[1]!.usedIndex === 51);
    await attached[1]!.quiesce();
    await attached[1]!.resume();
    await attached[1]!.detach();
    await attached[1]!.detach();
    for (const { close } of benches) close();
    await io.end();
    await io.end();
    expect(io.isDead).toBe(true);
  });

  maybe('is reached by Node while it sleeps in the kernel', async () => {
    const io = start();
    await io.engine;
    const { machine, close } = machineWithDisk();
    const attached = await io.attach(machine.attachment, events());
    const [rng] = machine.start(RNG);
    await until(() => machine.lifecycle(RNG) === 2);
    for (let i = 0; i < 20; i++) {
      const report = process.report.getReport() as { workers?: unknown[] };
      expect(report.workers?.length).toBeGreaterThan(0);
    }
    rng!.offer([writable(8)]);
    machine.kick(RNG);
    await until(() => rng!.usedIndex === 1);
    await attached.detach();
    await io.end();
    close();
  });

  maybe('a device that goes on before it has paused leaves nobody waiting for the pause', async () => {
    const io = start();
    const { machine, close } = machineWithDisk();
    const attached = await io.attach(machine.attachment, events());
    for (let i = 0; i < 20; i++) {
      const paused = attached.pauseDevice(BLK, true).catch((error) => error.code);
      await attached.resumeDevice(BLK);
      expect([undefined, 'ERR_TSVMM_STATE']).toContain(await Promise.race([paused, delay(2000, 'nothing')]));
    }
    await attached.detach();
    await io.end();
    close();
  });

  maybe('lets go of guest memory when a machine is detached', async () => {
    const io = start();
    const { machine, close } = machineWithDisk();
    const holders = () => native().memoryHolders(machine.ram.regions[0]!.hostAddress);
    const before = holders();
    const attached = await io.attach(machine.attachment, events());
    machine.start(BLK);
    await until(() => machine.lifecycle(BLK) === 2);
    expect(holders()).toBe(before + 1);
    await attached.detach();
    await until(() => holders() === before);
    await io.end();
    close();
  });

  maybe('closes descriptors', async () => {
    const io = start();
    const fds = Array.from({ length: 40 }, () => openSync('/dev/null', 'r'));
    await io.closeFds(fds);
    await io.closeFds([]);
    for (const fd of fds) expect(() => fstatSync(fd)).toThrow(/EBADF/);
    await io.end();
    const last = openSync('/dev/null', 'r');
    await io.closeFds([last]);
    expect(() => fstatSync(last)).toThrow(/EBADF/);
  });

  maybe('leaves no descriptor and no thread behind', async () => {
    const count = () => [readdirSync('/proc/self/fd').length, readdirSync('/proc/self/task').length];
    const cycle = async () => {
      const io = start();
      const { machine, close } = machineWithDisk();
      const attached = await io.attach(machine.attachment, events());
      const [driver] = machine.start(BLK);
      driver!.offer([readable(header(1)), writable(512), writable(1)]);
      machine.kick(BLK);
      await until(() => driver!.usedIndex === 1);
      await attached.detach();
      close();
      await io.end();
    };
    await cycle();
    const before = count();
    await cycle();
    await cycle();
    await delay(50);
    expect(count()[0]).toBeLessThanOrEqual(before[0]!);
    expect(count()[1]).toBeLessThanOrEqual(before[1]! + 1);
  });
});

describe('a worker that dies', () => {
  test('fails its machines with WORKER_DIED; detaching from it is no error; the next machine gets another', async () => {
    const options = { url: worker.url, helper: helper.url };
    const io = sharedIoWorker(options);
    expect(sharedIoWorker(options)).toBe(io);
    const { machine, close } = machineWithDisk();
    const told = events();
    const attached = await io.attach(machine.attachment, told);
    // What the worker cannot make a machine of is refused, and nothing else happens.
    const broken = { ...machine.attachment, regions: 5 as never };
    await expect(io.attach(broken, events())).rejects.toMatchObject({ code: 'ERR_TSVMM_STATE' });
    await io.terminate();
    await until(() => told.failures.length > 0);
    expect(told.failures).toMatchObject([{ code: 'ERR_TSVMM_WORKER_DIED' }]);
    await attached.detach();
    await expect(attached.quiesce()).rejects.toMatchObject({ code: 'ERR_TSVMM_WORKER_DIED' });
    await expect(io.attach(machine.attachment, events())).rejects.toMatchObject({ code: 'ERR_TSVMM_WORKER_DIED' });
    const next = sharedIoWorker(options);
    expect(next).not.toBe(io);
    const again = await next.attach(machine.attachment, events());
    const [rng] = machine.start(RNG);
    rng!.offer([writable(8)]);
    machine.kick(RNG);
    await until(() => rng!.usedIndex === 1);
    await again.detach();
    await next.end();
    close();
  });

  test('that cannot start says why', async () => {
    const io = new IoWorker({ url: new URL('file:///nowhere/io-worker.cjs') });
    await expect(io.engine).rejects.toMatchObject({
      code: 'ERR_TSVMM_WORKER_DIED',
      message: expect.stringContaining('nowhere'),
    });
  });
});

test('the process ends although a helper waits for work', { timeout: 20_000 }, () => {
  const channel = `const head = new Int32Array(new SharedArrayBuffer(1024), 0, 8); head[3] = 16;`; // capacity 16
  const program = `
    import { Worker } from 'node:worker_threads';
    ${channel}
    const worker = new Worker(new URL(${JSON.stringify(helper.url.href)}), { workerData: { channel: head.buffer }, execArgv: [] });
    worker.on('error', (error) => { console.error(error); });
    worker.once('online', () => setTimeout(() => process.exit(3), 50));
  `;
  const result = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    timeout: 8000,
    encoding: 'utf8',
  });
  expect([result.signal, result.status, result.stderr]).toEqual([null, 3, '']);
});

test('the process ends although a worker sleeps in the kernel', { timeout: 20_000 }, () => {
  const program = `
    import { Worker } from 'node:worker_threads';
    const worker = new Worker(new URL(${JSON.stringify(worker.url.href)}), {
      workerData: { engine: 'auto', helper: ${JSON.stringify(helper.url.href)}, nice: 5 }, env: {}, execArgv: [],
    });
    worker.unref();
    await new Promise((resolve) => worker.once('message', resolve));
    worker.ref();
    setTimeout(() => (process.argv[1] === 'exit' ? process.exit(3) : worker.unref()), 50);
  `;
  for (const [how, code] of [
    ['exit', 3],
    ['unref', 0],
  ] as const) {
    const result = spawnSync(process.execPath, ['--input-type=module', '-e', program, how], {
      timeout: 8000,
      encoding: 'utf8',
    });
    expect([result.signal, result.status, result.stderr]).toEqual([null, code, '']);
  }
});
