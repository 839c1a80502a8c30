/**
 * Machines whose disk is a function of this program or of a module: the guest writes it, reads it back and, in a second
 * machine with the same disk, verifies it; then discards part of it; and one that fails. Prints what came of each.
 */
import { createHash } from 'node:crypto';
import { Disk, VirtualMachine } from 'tsvmm';
import { guestFile } from './machine.js';
import memoryDisk from './memory-disk.js';

const [sectors, seed] = process.argv.slice(2);

async function run(disk, cmdline) {
  const boot = { kernel: guestFile('virtio-blk'), cmdline };
  const vm = await VirtualMachine.start({ memory: '32M', console: { buffer: '1M' }, disks: [disk], boot });
  const warnings = [];
  vm.on('warning', ({ message }) => warnings.push(message));
  const { reason, debugExit, consoleTail } = await vm.exited;
  return { reason, debugExit, output: consoleTail, warnings };
}

async function use(makeDisk) {
  const memory = new SharedArrayBuffer(Number(sectors) * 512);
  const disk = await makeDisk(memory);
  const written = await run(disk, `sectors=${sectors} seed=${seed} chunk=8 depth=16 indirect event-index`);
  const hash = createHash('sha256').update(Buffer.from(memory)).digest('hex');
  const verified = await run(disk, `sectors=${sectors} seed=${seed} tests=verify`);
  const cleared = await run(disk, `sectors=${sectors} tests=write,clear`);
  return { written, verified, cleared, hash, isZero: Buffer.from(memory).every((byte) => byte === 0) };
}

const failing = { size: 4096, blockSize: 512, read: () => Promise.reject(new Error('the far end has gone')) };
const results = {
  functions: await use(async (memory) => Disk.from(await memoryDisk(memory))),
  module: await use((memory) => Disk.fromModule(new URL('./memory-disk.js', import.meta.url), memory)),
  failing: await run(Disk.from(failing), 'sectors=8 tests=checksum'),
};
console.log(JSON.stringify(results));
