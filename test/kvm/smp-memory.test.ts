import { describe, expect, test } from 'vitest';
import { Kvm } from '../../src/kvm/kvm.js';
import { runGuest, whyNoKvm } from './support/guests.js';

describe.skipIf(whyNoKvm !== undefined)('size', () => {
  test.each([1, 2, 3, 32])('%i vCPUs start by INIT and SIPI and see one topology', async (cpus) => {
    const { output, exit } = await runGuest('smp', { cpus });
    expect(output).toContain(`smp ${cpus} ok`);
    expect(exit.reason).toBe('power-off');
  });

  test.each([
    { sockets: 2, cores: 2, threads: 2 },
    { sockets: 2, cores: 3, threads: 1 },
    { sockets: 1, cores: 3, threads: 2 },
  ])('$sockets sockets of $cores cores with $threads threads, gaps between APIC ids included', async (topology) => {
    const { sockets, cores, threads } = topology;
    const { output, exit } = await runGuest('smp', { topology, cmdline: `cores=${cores} threads=${threads}` });
    expect(output).toContain(`smp ${sockets * cores * threads} ok`);
    expect(exit.reason).toBe('power-off');
  });

  test.each(['16M', '1G', '8G', '16G'] as const)('%s of memory, hole and edges included', async (memory) => {
    const { output, exit } = await runGuest('memory', { memory });
    expect(output).toContain('memory ok');
    expect(exit).toMatchObject({ reason: 'power-off', debugExit: 0 });
  });

  test('timers tick', async () => {
    const { output, exit } = await runGuest('timer');
    expect(exit).toMatchObject({ debugExit: 0 });
    expect(output).toContain('timer ok');
  });

  test('a paravirtual feature that is removed is not there either', async (context) => {
    const kvm = Kvm.open();
    const enforces = kvm.capability('KVM_CAP_ENFORCE_PV_FEATURE_CPUID') > 0;
    kvm.close();
    if (!enforces) return context.skip('this KVM lacks KVM_CAP_ENFORCE_PV_FEATURE_CPUID (Linux 5.10)');
    for (const model of ['host', 'x86-64-v2']) {
      const cpu = { model, remove: ['kvmclock', 'kvmclock2', 'kvmclock_stable'] };
      const { output, exit } = await runGuest('timer', { cpu, cmdline: 'ticks=1' });
      expect(output).toContain('kvmclock: masked, its register refused\n');
      expect(exit).toMatchObject({ debugExit: 0 });
    }
  });
});
