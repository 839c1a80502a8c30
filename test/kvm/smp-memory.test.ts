import { describe, expect, test } from 'vitest';
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
});
