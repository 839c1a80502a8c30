import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { runGuest, startGuest, whyNoKvm } from './support/guests.js';

describe.skipIf(whyNoKvm !== undefined)('a guest that goes wrong ends alone, with a reason', () => {
  test('a triple fault is a crash with registers and the instruction', async () => {
    const { exit } = await runGuest('triple');
    expect(exit).toMatchObject({
      reason: 'error',
      error: { code: 'ERR_TSVMM_GUEST', details: { exit: 'shutdown', cpu: 0 } },
    });
    if (exit.reason !== 'error') throw new Error('unreachable');
    expect(exit.error.message).toMatch(/triple-faulted \(vCPU 0 at rip 0x[0-9a-f]+, instruction [0-9a-f]+\)/);
    expect((exit.error.details!['registers'] as Record<string, string>)['cr3']).toMatch(/^0x[0-9a-f]+$/);
  });

  test('an instruction that KVM cannot execute', async () => {
    const { exit, output } = await runGuest('bad-instruction');
    if (exit.reason === 'error') expect(exit.error.message).toMatch(/emulation failed/);
    else expect(output).not.toBe(''); // hardware KVM may execute it
  });

  test('a kernel that resets after its panic, and has no driver for pvpanic, has panicked', async () => {
    const { exit } = await runGuest('panic', { cmdline: 'then=reset', onReboot: 'exit' });
    expect(exit).toMatchObject({ reason: 'panic', message: 'as the test asked' });
  });
  test('one that hangs is warned of, and left alone', async () => {
    await using vm = await startGuest('panic', { cmdline: 'then=hang' });
    const [warning] = await once(vm, 'warning');
    expect(warning).toMatchObject({
      source: 'guest',
      message: 'its console shows a kernel panic, and it still runs: as the test asked',
    });
    expect(vm.state).toBe('running');
  });
  test('a panic carries the kernel’s own words', async () => {
    const { exit } = await runGuest('panic');
    expect(exit).toMatchObject({ reason: 'panic', message: 'as the test asked' });
  });

  test('a neighbour in the same process does not notice', async () => {
    await using neighbour = await startGuest('echo');
    await neighbour.console.waitFor('echo ready');
    await Promise.all(['triple', 'panic', 'bad-instruction'].map((name) => runGuest(name)));
    neighbour.console.write('still here\n');
    await neighbour.console.waitFor('echo: still here');
  });
});
