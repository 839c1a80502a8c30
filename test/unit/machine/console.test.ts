import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { GuestConsole } from '../../../src/machine/console.js';

const make = (buffer = 64, whenUnread: 'drop-oldest' | 'block' = 'drop-oldest') => {
  const console = new GuestConsole({ buffer, whenUnread });
  const typed: number[] = [];
  const link = { room: 1024, resumed: 0, size: [] as number[] };
  console.attach({
    input(bytes) {
      const count = Math.min(bytes.length, link.room);
      typed.push(...bytes.subarray(0, count));
      link.room -= count;
      return count;
    },
    resume: () => {
      link.resumed++;
    },
    resize: (columns, rows) => {
      link.size = [columns, rows];
    },
  });
  return { console, link, typed, say: (text: string) => console.deliver(Buffer.from(text)) };
};

test('unread output keeps the newest bytes and counts the rest', async () => {
  const { console, say } = make(8);
  say('0123456789');
  say('abc');
  expect(console.droppedBytes).toBe(5);
  console.finish();
  let text = '';
  for await (const chunk of console) text += chunk;
  expect(text).toBe('56789abc');
  expect(console.tail).toBe('0123456789abc');
});

test('a guest that must not lose output is stalled, and let go when somebody reads', async () => {
  const { console, link, say } = make(8, 'block');
  say('12345678');
  expect(console.accepts).toBe(false);
  expect(console.read()?.toString()).toBe('12345678');
  await delay(0);
  expect([console.accepts, link.resumed, console.droppedBytes]).toEqual([true, 1, 0]);
});

test('what one machine after the other leaves unread is bounded, even where the guest waits', () => {
  const { console } = make(8, 'block');
  for (let reset = 0; reset < 10; reset++) console.deliver(Buffer.alloc(64 * 1024, 97 + reset));
  expect(console.droppedBytes).toBe(640 * 1024 - (256 * 1024 + 8));
});

test('input between two machines waits for the second', async () => {
  const { console, link, typed } = make();
  const first = { input: () => 0, resume() {}, resize() {} };
  console.attach(first);
  console.detach(first);
  console.resize(100, 30);
  console.write('early');
  await delay(30);
  expect([typed.length, link.resumed]).toEqual([0, 0]);
  const second = { taken: '', size: [0, 0] };
  console.attach({
    input(bytes) {
      second.taken += Buffer.from(bytes).toString();
      return bytes.length;
    },
    resume() {},
    resize(columns, rows) {
      second.size = [columns, rows];
    },
  });
  console.detach(first); // late, and of no effect
  await expect.poll(() => second).toEqual({ taken: 'early', size: [100, 30] });
});

test('bytes lost on the way are counted with those dropped here', () => {
  const { console, say } = make(8);
  say('0123456789');
  console.lost(100);
  expect(console.droppedBytes).toBe(102);
});

test('a reader gets everything in order and then the end', async () => {
  const { console, say } = make();
  const seen: string[] = [];
  const reading = (async () => {
    for await (const chunk of console) seen.push(String(chunk));
  })();
  say('one ');
  await delay(1);
  say('two');
  await delay(1);
  console.finish();
  await reading;
  expect(seen.join('')).toBe('one two');
});

test('waitFor finds what was said before and what comes later, across chunks', async () => {
  const { console, say } = make();
  say('boot: log');
  await expect(console.waitFor('log')).resolves.toBe('log');
  const prompt = console.waitFor(/(\w+) login:/);
  say('\ndebian lo');
  say('gin: ');
  await expect(prompt).resolves.toBe('debian login:');
});

test('waitFor and lines lose nothing of what comes at once', async () => {
  const { console, say } = make();
  const prompt = console.waitFor('login: ');
  const lines = console.lines();
  const first = lines.next();
  say('first\nlogin: \n');
  for (let i = 0; i < 4; i++) say('x'.repeat(64 * 1024));
  await expect(prompt).resolves.toBe('login: ');
  await expect(first).resolves.toMatchObject({ value: 'first' });
});

test('waitFor rejects at its deadline, on abort, and when the machine ends', async () => {
  const { console } = make();
  await expect(console.waitFor('never', { timeout: 5 })).rejects.toMatchObject({ code: 'ERR_TSVMM_TIMEOUT' });
  const reason = new Error('enough');
  await expect(console.waitFor('never', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  const waiting = console.waitFor('never');
  await delay(0);
  console.finish();
  await expect(waiting).rejects.toMatchObject({ code: 'ERR_TSVMM_STATE' });
});

test('lines come without line ends, the last one unfinished', async () => {
  const { console, say } = make();
  const lines: string[] = [];
  const reading = (async () => {
    for await (const line of console.lines()) lines.push(line);
  })();
  await delay(0);
  say('a\r\nb');
  say('c\nrest');
  console.finish();
  await reading;
  expect(lines).toEqual(['a', 'bc', 'rest']);
});

test('input waits for room in the guest', async () => {
  const { console, link, typed } = make();
  link.room = 3;
  const written = new Promise<void>((resolve) => console.write('hello', () => resolve()));
  await delay(5);
  expect(Buffer.from(typed).toString()).toBe('hel');
  link.room = 10;
  await written;
  expect(Buffer.from(typed).toString()).toBe('hello');
});

test('a size is checked, and told again to a machine that starts later', () => {
  const { console, link } = make();
  expect(() => console.resize(0, 24)).toThrow('0 columns');
  console.resize(132, 43);
  expect(link.size).toEqual([132, 43]);
  const again: number[] = [];
  console.attach({ input: () => 0, resume: () => {}, resize: (c, r) => void again.push(c, r) });
  expect(again).toEqual([132, 43]);
});

test('a write that the guest never read settles when the machine ends', async () => {
  const { console, link } = make();
  link.room = 0;
  const written = new Promise((resolve) => console.write('never read', resolve));
  console.finish();
  expect(await written).toBeFalsy();
});

test('a reader of lines that falls behind misses the oldest and holds no more than the limit', async () => {
  const { console, say } = make(8);
  const lines = console.lines();
  const first = lines.next();
  say('first\n');
  expect((await first).value).toBe('first');
  for (let i = 0; i < 100_000; i++) say(`${i}\n`);
  console.finish();
  const rest: string[] = [];
  for await (const line of lines) rest.push(line);
  expect(rest.at(-1)).toBe('99999');
  expect(rest.length).toBeLessThan(60_000);
});

test('what is neither text nor an expression cannot be waited for', async () => {
  const { console } = make();
  for (const pattern of [5, undefined, { source: 'x' }])
    await expect(console.waitFor(pattern as unknown as string)).rejects.toMatchObject({
      code: 'ERR_TSVMM_CONFIG',
      hint: 'pass a string or a regular expression',
    });
});
