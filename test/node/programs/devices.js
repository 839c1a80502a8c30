/**
 * Machines whose devices are in use: a disk that the guest writes and reads back, the serial console, the virtio console, both
 * with input. Prints what each guest said, how it ended, and how many rings (io_uring) tsvmm had meanwhile.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { VirtualMachine } from 'tsvmm';
import { guestFile } from './machine.js';

const [disk, sectors, seed] = process.argv.slice(2);

const start = (kernel, cmdline, options) =>
  VirtualMachine.start({ memory: '32M', ...options, boot: { kernel: guestFile(kernel), cmdline } });

/** The rings of I/O workers: those that Node makes for itself have room for some hundred completions. */
function rings() {
  let found = 0;
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      if (!readlinkSync(`/proc/self/fd/${fd}`).includes('io_uring')) continue;
      const [, mask] = /^CqMask:\s+(\w+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'));
      if (Number.parseInt(mask, 16) > 4096) found++;
    } catch (error) {
      if (error.code !== 'ENOENT') throw error; // closed meanwhile, as the descriptor that listed the folder
    }
  }
  return found;
}

/** Waits for the greeting, then writes each line when the one before it has had its answer, and reads to the end. */
async function talk(vm, greeting, dialogue = []) {
  const chunks = [];
  vm.console.on('data', (chunk) => chunks.push(chunk));
  await vm.console.waitFor(greeting);
  const seen = rings();
  for (const [line, answer] of dialogue) {
    vm.console.write(line);
    if (answer !== undefined) await vm.console.waitFor(answer);
  }
  const { reason, debugExit } = await vm.exited;
  return { output: Buffer.concat(chunks).toString('latin1'), reason, debugExit, rings: seen };
}

const written = `sectors=${sectors} seed=${seed} chunk=2 depth=16 indirect event-index`;
const dialogue = [['some text\n', 'echo: some text'], ['burst 50\n', 'burst line 49'], ['quit\n']];
const results = {
  disk: await talk(await start('virtio-blk', written, { disks: [disk] }), 'blk write'),
  serial: await talk(await start('echo', ''), 'echo ready', dialogue),
  virtio: await talk(await start('virtio-console', '', { console: { device: 'virtio' } }), 'hello from', dialogue),
};
console.log(JSON.stringify(results));
