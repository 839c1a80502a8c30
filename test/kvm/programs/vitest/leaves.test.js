/** A test with machines, for test/kvm/testing.test.ts; the next file in the same process looks for what is left of them. */
import { readdirSync, readlinkSync } from 'node:fs';
import { vmTest } from 'tsvmm/testing';
import { expect } from 'vitest';

const boot = { kernel: `${process.env.GUESTS}/life.elf` };
const test = vmTest({ memory: '64M', boot, ready: 'life: begins\n' });

test('leaves', async ({ vm }) => {
  vm.console.write('say\n');
  await vm.console.waitFor('entropy');
  globalThis.machinesWere = readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return ''; // that of the listing
      }
    })
    .filter((target) => target.includes('kvm-vm')).length;
  expect(globalThis.machinesWere).toBe(2);
});
