/** Memory that is copied while its guest runs, before the machine is forked or snapshotted: nothing that happens meanwhile is lost. */
import { setTimeout as delay, setImmediate } from 'node:timers/promises';
import { Disk, type VirtualMachine } from 'tsvmm';
import { describe, expect, test } from 'vitest';
import { canWatch } from '../../src/memory/write-watch.js';
import { openTargets } from '../support/descriptors.js';
import { scratchFolder, sectorBytes } from './support/disks.js';
import { startGuest, whyNoKvm } from './support/guests.js';
import { call, endLife, say, startLife } from './support/lives.js';

const scratch = scratchFolder();

const whyNot = whyNoKvm ?? (canWatch() ? undefined : 'this kernel cannot watch memory (Linux 6.7)');
if (whyNot !== undefined) console.log(`skipped: memory that is copied ahead: ${whyNot}`);

const isCopying = (): boolean => openTargets().includes('anon_inode:[userfaultfd]');

/** Resolves when memory is being copied. */
async function copying(task: Promise<unknown>): Promise<void> {
  let isOver = false;
  const over = (): void => {
    isOver = true;
  };
  task.then(over, over);
  while (!isCopying()) {
    if (isOver) throw new Error('nothing was copied ahead');
    await setImmediate();
  }
}

/** What each vCPU of a `life` goes round in, 16 pages each time. */
const pages = 8192;
async function onceRound(vm: VirtualMachine): Promise<void> {
  const from = (await say(vm)).rounds;
  while ((await say(vm)).rounds < from + pages / 16 + 1) await delay(200);
}

/** More memory than a machine is made to stand still for. */
async function fillMemory(vm: VirtualMachine): Promise<void> {
  const chunk = Buffer.alloc(2 ** 20, 'tsvmm');
  for (let i = 0; i < 48; i++) vm.memory.write((64 + i) * 2 ** 20, chunk);
}

describe.skipIf(whyNot !== undefined)('copied ahead', () => {
  test('is the memory of a guest that writes it all the time, with each of its vCPUs', async () => {
    await using parent = await startLife({ cpus: 2, memory: '256M' }, `pages=${pages}`);
    await onceRound(parent);
    const children: VirtualMachine[] = [];
    for (const name of ['one', 'two', 'three']) {
      const forking = parent.fork();
      await copying(forking);
      const child = await forking;
      expect(isCopying()).toBe(false);
      children.push(child);
      await Promise.all([call(child, name), onceRound(parent)]);
    }
    // Each has looked at all of its memory.
    await Promise.all(children.map(onceRound));
    await Promise.all([parent, ...children].map(endLife));
  });

  test.each(['direct', 'writeback'] as const)('is that of a machine whose disk is busy (%s)', async (cache) => {
    const bytes = Buffer.alloc(64 * sectorBytes, 0x5a);
    bytes.writeUInt32LE(0xa1, 0);
    bytes.writeUInt32LE(0xa2, 63 * sectorBytes);
    const disk = await Disk.open(scratch.file(`${cache}.img`, bytes) as string, { cache });
    await using vm = await startGuest('drive', { disks: [disk], memory: '128M', cmdline: 'write until=1' });
    await vm.console.waitFor('drive: 64 sectors');
    for (let round = 0; round < 4; round++) {
      await fillMemory(vm);
      const forking = vm.fork();
      await copying(forking);
      await using child = await forking;
      expect(child.memory.read(100 * 2 ** 20, 5).toString()).toBe('tsvmm');
      await delay(100);
      // It tells of everything that it finds and has not found before.
      for (const one of [vm, child]) expect(one.console.tail.match(/drive: /g) ?? []).toHaveLength(one === vm ? 1 : 0);
    }
  });

  test('is given up with the call, and the machine runs on', async () => {
    await using vm = await startLife({ memory: '128M' });
    await fillMemory(vm);
    const reason = new Error('enough');
    const controller = new AbortController();
    const taking = vm.snapshot(scratch.path('given-up'), { signal: controller.signal });
    await copying(taking);
    controller.abort(reason);
    await expect(taking).rejects.toBe(reason);
    expect(isCopying()).toBe(false);
    expect(openTargets().filter((target) => target.includes('tsvmm-layer'))).toEqual([]);
    await say(vm);
    await using child = await vm.fork();
    await Promise.all([vm, child].map(endLife));
  });

  test('is given up with the machine', async () => {
    for (const end of ['kill', 'dispose'] as const) {
      const vm = await startLife({ memory: '128M' });
      await fillMemory(vm);
      const forking = vm.fork();
      const failed = expect(forking).rejects.toMatchObject({ code: 'ERR_TSVMM_STATE' });
      await copying(forking);
      await (end === 'kill' ? vm.kill() : vm[Symbol.asyncDispose]());
      await failed;
      expect(isCopying()).toBe(false);
      expect(openTargets().filter((target) => target.includes('tsvmm-layer'))).toEqual([]);
    }
  });

  test('is whole although the machine is paused and forked meanwhile', async () => {
    await using vm = await startLife({ memory: '128M' });
    await fillMemory(vm);
    const first = vm.fork();
    await copying(first);
    const [one, , two] = await Promise.all([first, vm.pause(), vm.fork()]);
    await using _one = one;
    await using _two = two;
    expect(vm.state).toBe('paused');
    await vm.resume();
    for (const child of [one, two]) expect(child.memory.read(100 * 2 ** 20, 5).toString()).toBe('tsvmm');
    await Promise.all([vm, one, two].map(endLife));
  });
});
