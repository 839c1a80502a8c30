/** A running machine of a tiny guest for the programs beside this: with two vCPUs and, by its disk, an I/O worker. */
import { readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const guestFile = (name) => fileURLToPath(new URL(`../../../build/guests/${name}.elf`, import.meta.url));

/** What a busy or idle machine does: nothing, two vCPUs' worth of nothing, or reads of its disk without an end. */
const guests = {
  halt: { kernel: guestFile('halt') },
  spin: { kernel: guestFile('spin') },
  read: { kernel: guestFile('virtio-blk'), cmdline: 'tests=checksum depth=8 chunk=8 sectors=2147483648' },
};

/** Resolves when the guest is at it; "none" is no machine at all. */
export async function startMachine(guest, disk) {
  const { VirtualMachine } = await import('tsvmm');
  if (guest === 'none') return undefined;
  const vm = await VirtualMachine.start({
    memory: '32M',
    cpus: 2,
    boot: guests[guest],
    disks: [{ path: disk, ephemeral: true }],
  });
  await delay(50); // both vCPUs are in the guest, and the I/O worker is in its ring
  return vm;
}

/** The system's number of this thread. */
export const threadNumber = () => readlinkSync('/proc/thread-self').split('/').at(-1);

/** How long a thread has been ready to run while others had the processors, in ms. */
function waitedMs(thread) {
  const [, waited = 0] = readFileSync(`/proc/self/task/${thread}/schedstat`, 'latin1').split(' ').map(Number);
  return waited / 1e6;
}

/** Starts a clock that stands while the thread waits for a processor. @returns what reads it, in ms */
export function stopwatch(thread = threadNumber()) {
  const waited = waitedMs(thread);
  const start = process.hrtime.bigint();
  return () => Number(process.hrtime.bigint() - start) / 1e6 - (waitedMs(thread) - waited);
}
