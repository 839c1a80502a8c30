/** Tests that fail, for test/kvm/testing.test.ts. */
import { vmTest } from 'tsvmm/testing';
import { expect } from 'vitest';

const kernel = (name) => ({ kernel: `${process.env.GUESTS}/${name}.elf` });
const life = { memory: '64M', boot: kernel('life') };

const test = vmTest({ ...life, name: 'lives', ready: 'life: begins\n' });
const never = vmTest({ ...life, ready: /something else/, timeout: 5000 });
const ends = vmTest({ memory: '64M', boot: kernel('hello'), ready: () => new Promise(() => {}) });
const absent = vmTest({ boot: { kernel: '/nonexistent' } });

test('expects something else', async ({ vm }) => {
  vm.console.write('who of the test\n');
  vm.console.write('say\n');
  await vm.console.waitFor('entropy');
  expect('of the test').toBe('of another');
});

test('takes too long', async ({ vm }) => {
  vm.console.write('who slow\n');
  await vm.console.waitFor('this never comes');
}, 3000);

test('waits for one that ended', async ({ vm }) => {
  vm.console.write('fly\n');
  await vm.console.waitFor('this never comes');
});

never('needs what never comes', ({ vm }) => expect(vm).toBeUndefined());
never('needs it too', ({ vm }) => expect(vm).toBeUndefined());
ends('needs one that ends', ({ vm }) => expect(vm).toBeUndefined());
absent('needs a kernel', ({ vm }) => expect(vm).toBeUndefined());
