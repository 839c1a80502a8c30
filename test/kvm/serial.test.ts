import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { VirtualMachine } from 'tsvmm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGuest, whyNoKvm } from './support/guests.js';

/** Lines of different length and content, together `bytes` long or a little more. */
function linesOf(bytes: number): string[] {
  const lines: string[] = [];
  for (let length = 0; length < bytes; length += lines.at(-1)!.length + 1)
    lines.push(`line ${lines.length} ${'abcdefghijklmnopqrstuvwxyz'.repeat(4).slice(0, (lines.length * 7) % 104)}.`);
  return lines;
}
const echoed = (lines: string[]): string => lines.map((line) => `echo: ${line}\n`).join('');

const burst = (count: number): string => Array.from({ length: count }, (_, i) => `burst line ${i}\n`).join('');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsvmm-serial-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Lines that are more than the host keeps, the guest's own ring aside. */
const many = 6000;
const patience = { timeout: 30_000 };

/** All that the machine prints from now to its end. */
async function rest(vm: VirtualMachine): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of vm.console) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('latin1');
}

interface Counts {
  lines: number;
  bytes: number;
  interrupts: number;
  overruns: number;
  lost: number;
}
function countsOf(output: string): Counts {
  const last = output.slice(output.lastIndexOf('echo counts: '));
  const value = (name: string): number => Number(new RegExp(` ${name} (\\d+)`).exec(last)![1]);
  return {
    lines: value('lines'),
    bytes: value('bytes'),
    interrupts: value('interrupts'),
    overruns: value('overruns'),
    lost: value('lost'),
  };
}

describe.skipIf(whyNoKvm !== undefined)('the serial port', () => {
  test.each(['ioapic', 'pic', 'poll'])('echoes by %s, and loses nothing of a burst', async (by) => {
    await using vm = await startGuest('echo', { cmdline: `by=${by}`, console: { buffer: '1M' } });
    const output = rest(vm);
    await vm.console.waitFor('echo ready');
    vm.console.write('first\n');
    await vm.console.waitFor('echo: first\n');
    const burst = linesOf(10_000);
    const input = `${burst.join('\n')}\n`;
    vm.console.write(input);
    await vm.console.waitFor(`echo: ${burst.at(-1)}\n`);
    vm.console.write('quit\n');
    const text = await output;
    expect(text).toContain(`echo: first\n${echoed(burst)}`);
    const counts = countsOf(text);
    expect(counts).toMatchObject({ lines: burst.length + 1, overruns: 0, lost: 0 });
    expect(counts.bytes).toBe('first\n'.length + input.length + 'quit\n'.length);
    if (by === 'poll') expect(counts.interrupts).toBe(0);
    else expect(counts.interrupts).toBeGreaterThan(0);
    expect(await vm.exited).toMatchObject({ reason: 'power-off', debugExit: 0 });
  });

  test('carries every byte but the line ends as it is', async () => {
    await using vm = await startGuest('echo', { console: { buffer: '1M' } });
    const output = rest(vm);
    await vm.console.waitFor('echo ready');
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i).filter((byte) => byte !== 10 && byte !== 13));
    vm.console.write(Buffer.concat([bytes, Buffer.from('\nquit\n')]));
    expect(await output).toContain(`echo: ${bytes.toString('latin1')}\n`);
  });

  test('that is to block stalls the guest while nobody reads, and loses nothing (T38)', async () => {
    await using vm = await startGuest('echo', { console: { buffer: '4K', whenUnread: 'block' } });
    await vm.console.waitFor('echo ready');
    vm.console.write('burst 1200\nquit\n');
    // What is kept is bounded, so the guest comes to a stop long before it has printed all.
    let exits = -1;
    await expect
      .poll(
        () => {
          const before = exits;
          exits = vm.metrics().exits['io']!;
          return exits === before && exits > 1000;
        },
        { interval: 500, timeout: 30_000 },
      )
      .toBe(true);
    expect(vm.state).toBe('running');
    expect(vm.console.tail).not.toContain('burst line 1199');
    let text = '';
    for await (const chunk of vm.console) text += (chunk as Buffer).toString('latin1');
    expect(text.startsWith(`echo ready\n${burst(1200)}echo counts: `)).toBe(true);
    expect(text.endsWith('echo done\n')).toBe(true);
    expect(vm.console.droppedBytes).toBe(0);
    expect(await vm.exited).toMatchObject({ reason: 'power-off', debugExit: 0 });
  });

  test('that is to block keeps what the guest said last, although it has ended', async () => {
    const vm = await startGuest('echo', { console: { buffer: '4K', whenUnread: 'block' } });
    await vm.console.waitFor('echo ready');
    vm.console.write('burst 400\nquit\n'); // more than the buffer, less than the ring holds
    expect(await vm.exited).toMatchObject({ reason: 'power-off', debugExit: 0 });
    expect(await rest(vm)).toMatch(new RegExp(`^echo ready\n${burst(400)}echo counts: .*\necho done\n$`));
    expect(vm.console.droppedBytes).toBe(0);
  });

  test('that drops keeps the newest bytes and counts the others; the guest is not slowed down (T38)', async () => {
    const vm = await startGuest('echo', { console: { buffer: '4K' } });
    await vm.console.waitFor('echo ready');
    vm.console.write('burst 700\nquit\n');
    const exit = await vm.exited; // it ends although nobody reads
    expect(exit).toMatchObject({ reason: 'power-off', debugExit: 0 });
    expect(exit.consoleTail).toContain(`echo ready\n${burst(700)}`);
    const kept = await rest(vm);
    expect(kept.length).toBeLessThanOrEqual(2 * 4096); // the buffer, and what the stream itself holds
    expect(kept.endsWith('echo done\n')).toBe(true);
    expect(exit.consoleTail.endsWith(kept)).toBe(true);
    expect(vm.console.droppedBytes + kept.length).toBe(exit.consoleTail.length);
    expect(vm.console.droppedBytes).toBeGreaterThan(0);
  });

  test('of a machine that goes on has the reader that it is given: one that is waited for', async () => {
    await using parent = await startGuest('echo', { console: { buffer: '4K' } });
    await parent.console.waitFor('echo ready');
    await using fork = await parent.fork({ console: { whenUnread: 'block' } });
    await using again = await fork.fork(); // as it was
    const check = async (vm: VirtualMachine): Promise<void> => {
      vm.console.write(`burst ${many}\nquit\n`);
      await expect.poll(() => vm.console.tail, patience).toContain('burst line 100\n');
      await delay(1000);
      expect(vm.console.tail).not.toContain(`burst line ${many - 1}\n`);
      const text = await rest(vm);
      expect(text.startsWith(`${burst(many)}echo counts: `)).toBe(true);
      expect(text.endsWith('echo done\n')).toBe(true);
      expect(vm.console.droppedBytes).toBe(0);
      expect(await vm.exited).toMatchObject({ reason: 'power-off', debugExit: 0 });
    };
    await Promise.all([fork, again].map(check));
  });

  test('of a machine that goes on has the reader that it is given: one that is not', async () => {
    const directory = join(folder, 'blocks');
    {
      await using parent = await startGuest('echo', { console: { buffer: '4K', whenUnread: 'block' } });
      await parent.console.waitFor('echo ready');
      parent.console.write(`burst ${many}\nquit\n`); // it stands still in the middle of that
      await expect.poll(() => parent.console.tail, patience).toContain('burst line 100\n');
      await (await parent.snapshot(directory))[Symbol.asyncDispose]();
    }
    const vm = await VirtualMachine.restore(directory, { console: { whenUnread: 'drop-oldest', buffer: '8K' } });
    const exit = await vm.exited; // it ends although nobody reads
    expect(exit).toMatchObject({ reason: 'power-off', debugExit: 0 });
    expect(exit.consoleTail).toContain(burst(many).slice(-4096));
    const kept = await rest(vm);
    expect(kept.length).toBeLessThanOrEqual(8192 + 4096); // the buffer, and what the stream itself holds
    expect(kept.endsWith('echo done\n')).toBe(true);
    expect(vm.console.droppedBytes).toBeGreaterThan(0);
  });

  test.each([
    [{ device: 'virtio' }, 'device'],
    [{ whenUnread: 'never' }, 'console.whenUnread'],
    [{ buffer: 1 }, 'console.buffer'],
    ['serial', 'console: expected options'],
  ])('of a machine that goes on is not %j', async (console, words) => {
    await using vm = await startGuest('echo');
    await expect(vm.fork({ console } as never)).rejects.toMatchObject({
      code: 'ERR_TSVMM_CONFIG',
      message: expect.stringContaining(words),
    });
  });

  test('keeps input that was written before the guest was ready', async () => {
    const vm = await startGuest('echo', { console: { buffer: '1M' } });
    // The driver empties the receive FIFO of 16 bytes when it starts, more than once.
    vm.console.write(`${'-'.repeat(64)}\nearly\nquit\n`);
    expect(await rest(vm)).toContain('echo: early\n');
  });

  test('shows its output as lines', async () => {
    const vm = await startGuest('echo');
    const lines: string[] = [];
    const reading = (async () => {
      for await (const line of vm.console.lines()) lines.push(line);
    })();
    await vm.console.waitFor('echo ready');
    vm.console.write('one\rtwo\r\nquit\n');
    await reading;
    expect(lines.slice(-4)).toEqual(['echo: one', 'echo: two', expect.stringMatching(/^echo counts: /), 'echo done']);
  });
});
