import type { VirtualMachine } from 'tsvmm';
import { describe, expect, test } from 'vitest';
import { type GuestOptions, startGuest, whyNoKvm } from './support/guests.js';
import { runClean } from './support/outcome.js';

describe.skipIf(whyNoKvm !== undefined)('virtio-rng', () => {
  test.each([
    'by=msix',
    'by=intx',
    'by=poll',
    'indirect depth=8',
    'event-index depth=2',
    'by=intx indirect event-index depth=16',
    'bytes=1 requests=5',
    'bytes=4096 depth=1 requests=4',
  ])('gives entropy (%s)', async (cmdline) => {
    const output = await runClean('virtio-rng', { cmdline });
    const [requests, bytes] = ['requests', 'bytes'].map((name) =>
      Number(new RegExp(`${name}=(\\d+)`).exec(cmdline)?.[1] ?? 0),
    );
    expect(output).toContain(`rng ok: ${requests || 16} requests, ${(requests || 16) * (bytes || 64)} bytes, `);
  });

  test('answers a large request in part (T14)', async () => {
    const output = await runClean('virtio-rng', { cmdline: 'requests=1 bytes=1000000' });
    expect(output).toContain(`rng ok: 1 requests, ${64 * 1024} bytes, `);
  });

  test('gives two machines different bytes (T41)', async () => {
    const outputs = await Promise.all([0, 1].map(() => runClean('virtio-rng', { cmdline: 'requests=1' })));
    const [first, second] = outputs.map((output) => /^rng first:((?: \w\w){16})$/m.exec(output)![1]);
    expect(first).not.toBe(second);
  });
});

const virtio = (options: GuestOptions = {}): Promise<VirtualMachine> =>
  startGuest('virtio-console', { ...options, console: { device: 'virtio', ...options.console } });

async function rest(vm: VirtualMachine): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of vm.console) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('latin1');
}
/**
 * Requires `expected` in the console's stream, whole and in order. What the guest reports on the serial port comes in the
 * same stream, wherever main found it, even inside a line.
 */
function expectWithin(text: string, expected: string): void {
  let at = 0;
  for (const character of text) if (character === expected[at]) at++;
  expect(expected.slice(at), `missing in ${text.slice(-300)}`).toBe('');
}
const burst = (count: number): string => Array.from({ length: count }, (_, i) => `burst line ${i}\r\n`).join('');

describe.skipIf(whyNoKvm !== undefined)('virtio-console', () => {
  test.each([
    'by=msix',
    'by=intx',
    'by=poll',
    'indirect',
    'event-index',
    'buffers=1',
    'by=intx indirect event-index buffers=32',
  ])('echoes lines, takes and gives bursts (%s)', async (cmdline) => {
    await using vm = await virtio({ cmdline, console: { buffer: '1M' } });
    const output = rest(vm);
    await vm.console.waitFor('hello from virtio-console\r\n');
    vm.console.write('some text\n');
    await vm.console.waitFor('echo: some text\r\n');
    const lines = Array.from({ length: 100 }, (_, i) => `${i} ${'x'.repeat(i)}`);
    vm.console.write(`${lines.join('\n')}\nburst 50\nquit\n`);
    const text = await output;
    const echoes = ['some text', ...lines].map((line) => `echo: ${line}\r\n`).join('');
    expectWithin(text, `hello from virtio-console\r\n${echoes}${burst(50)}bye\r\n`);
    expect(text).toContain('console: negotiated 0x');
    expect(await vm.exited).toMatchObject({ reason: 'power-off', debugExit: 0 });
  });

  test('tells the guest its size, before the start and after', async () => {
    await using vm = await virtio();
    await vm.console.waitFor('hello from virtio-console');
    vm.console.resize(101, 37);
    await vm.console.waitFor('size 101x37\r\n');
    vm.console.resize(65535, 1);
    await vm.console.waitFor('size 65535x1\r\n');
    expect(() => vm.console.resize(0, 25)).toThrow('0 columns');
    expect(() => vm.console.resize(80, 65536)).toThrow('65536 rows');
    vm.console.write('quit\n');
    expect(await vm.exited).toMatchObject({ reason: 'power-off', debugExit: 0 });
  });

  test('that is to block stalls the guest while nobody reads, and loses nothing (T38)', async () => {
    await using vm = await virtio({ console: { buffer: '4K', whenUnread: 'block' } });
    await vm.console.waitFor('hello from virtio-console');
    vm.console.write('burst 1500\nquit\n');
    let seen = -1;
    await expect
      .poll(
        () => {
          const before = seen;
          seen = vm.console.tail.length;
          return seen === before && seen > 1000;
        },
        { interval: 500, timeout: 60_000 },
      )
      .toBe(true);
    expect(vm.state).toBe('running');
    const text = await rest(vm);
    expectWithin(text, `hello from virtio-console\r\n${burst(1500)}bye\r\n`);
    expect(vm.console.droppedBytes).toBe(0);
  });

  test('that drops keeps the newest bytes and counts the others (T38)', async () => {
    const vm = await virtio({ console: { buffer: '4K' } });
    await vm.console.waitFor('hello from virtio-console');
    vm.console.write('burst 1000\nquit\n');
    expect(await vm.exited).toMatchObject({ reason: 'power-off', debugExit: 0 });
    const kept = await rest(vm);
    expectWithin(kept.slice(kept.indexOf('burst line 998')), 'burst line 998\r\nburst line 999\r\nbye\r\n');
    expect(kept.length).toBeLessThanOrEqual(2 * 4096);
    expect(vm.console.droppedBytes).toBeGreaterThan(1000);
  });
});
