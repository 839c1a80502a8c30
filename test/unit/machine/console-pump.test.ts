import { afterEach, expect, test, vi } from 'vitest';
import { GuestConsole } from '../../../src/machine/console.js';
import { type ConsoleEnds, ConsolePump } from '../../../src/machine/console-pump.js';

/** The host's end of a device: bytes that wait, and bytes that its ring had no room for. */
function source(text: string, droppedBytes = 0) {
  let rest = Buffer.from(text);
  return {
    droppedBytes,
    typed: '',
    get outputLength() {
      return rest.length;
    },
    say(more: string) {
      rest = Buffer.concat([rest, Buffer.from(more)]);
    },
    readOutput(into: Uint8Array): number {
      const count = rest.copy(into);
      rest = rest.subarray(count);
      return count;
    },
    writeInput(bytes: Uint8Array): number {
      this.typed += Buffer.from(bytes).toString();
      return bytes.length;
    },
    unsettled: false,
    settle() {
      this.unsettled = false;
    },
  };
}

function make(
  options: {
    buffer?: number;
    whenUnread?: 'drop-oldest' | 'block';
    virtio?: ReturnType<typeof source>;
    hasDriver?: () => boolean;
    resize?: (columns: number, rows: number) => void;
  } = {},
) {
  const { buffer = 2 ** 20, whenUnread = 'drop-oldest', virtio, hasDriver = () => true, resize = () => {} } = options;
  const serial = source('');
  const console = new GuestConsole({ buffer, whenUnread });
  const pump = new ConsolePump(
    console,
    { serial, virtio, hasDriver } as unknown as ConsoleEnds,
    (task) => task(),
    resize,
  );
  console.attach(pump);
  return { serial, console, pump };
}

test('both devices speak on one console; input goes to the virtio console once it has a driver', () => {
  const virtio = source('from virtio');
  let driver = false;
  const { serial, console, pump } = make({ virtio, hasDriver: () => driver });
  serial.say('early, ');
  expect(pump.pump()).toBe('early, from virtio'.length);
  expect(console.read()?.toString()).toBe('early, from virtio');
  console.write('to the initramfs');
  driver = true;
  console.write('typed');
  expect([serial.typed, virtio.typed]).toEqual(['to the initramfs', 'typed']);
});

test('what the kernel says on both devices is shown once, and a prompt does not wait for more', async () => {
  const virtio = source('');
  const { serial, console, pump } = make({ virtio });
  serial.say('[    0.000000] Linux version 6.1\r\n[    0.5');
  pump.pump();
  serial.say('00000] Run /init\r\n');
  pump.pump();
  virtio.say('[    0.000000] Linux version 6.1\r\n[    0.500000] Run /init\r\n[    1.0');
  pump.pump();
  expect(console.tail).toBe('[    0.000000] Linux version 6.1\r\n[    0.500000] Run /init\r\n');
  virtio.say('00000] printk: console [hvc0] enabled\r\nchoose [');
  pump.pump();
  expect(console.tail).toMatch(/enabled\r\nchoose $/);
  await expect.poll(() => console.tail).toMatch(/choose \[$/);
});

test('at the end what was held back is shown', () => {
  const virtio = source('');
  const { serial, console, pump } = make({ virtio });
  serial.say('[    9.000000] cut of');
  pump.pump();
  expect(console.tail).toBe('');
  pump.drain();
  expect(console.tail).toBe('[    9.000000] cut of');
});

afterEach(() => void vi.useRealTimers());

test('a driver hears the size of its console again as it speaks, until somebody types', () => {
  vi.useFakeTimers({ toFake: ['hrtime'] });
  const virtio = source('');
  const told: string[] = [];
  const { serial, console, pump } = make({ virtio, resize: (...size) => void told.push(size.join('x')) });
  const speak = (from = virtio): void => {
    from.say('x');
    pump.pump();
  };
  speak();
  expect(told).toEqual([]); // nobody has said a size
  console.resize(101, 37);
  speak(serial);
  expect(told).toEqual(['101x37']);
  speak();
  speak();
  expect(told).toEqual(['101x37', '101x37']); // not more often than once a second
  vi.advanceTimersByTime(1000);
  speak();
  expect(told).toHaveLength(3);
  console.write('root');
  vi.advanceTimersByTime(1000);
  speak();
  expect(told).toHaveLength(3);
  console.resize(90, 30);
  expect(told.at(-1)).toBe('90x30');
});

test('the size is told again so many times, and not to a machine that has ended', () => {
  vi.useFakeTimers({ toFake: ['hrtime'] });
  const virtio = source('');
  let told = 0;
  const { console, pump } = make({ virtio, resize: () => void told++ });
  console.resize(80, 25);
  for (let i = 0; i < 200; i++) {
    virtio.say('x');
    pump.pump();
    vi.advanceTimersByTime(1000);
  }
  expect(told).toBe(1 + 100);
  const last = make({ virtio, resize: () => void told++ });
  last.console.resize(80, 25);
  virtio.say('x');
  last.pump.drain();
  expect(told).toBe(102);
});

test('a console that is full leaves output in the ring until somebody reads', () => {
  const { serial, console, pump } = make({ buffer: 4, whenUnread: 'block' });
  serial.say('1234');
  pump.pump();
  serial.say('5678');
  expect(pump.pump()).toBe(0);
  expect([serial.outputLength, pump.pending]).toEqual([4, false]);
  expect(console.read()?.toString()).toBe('12345678'); // reading makes it go on
  expect(serial.outputLength).toBe(0);
});

test('at the end nothing stays in the rings, even if nobody reads', () => {
  const { serial, console, pump } = make({ buffer: 4, whenUnread: 'block' });
  serial.say('1234');
  pump.pump();
  serial.say('the last words');
  pump.drain();
  console.finish();
  expect(serial.outputLength).toBe(0);
  expect(console.read()?.toString()).toBe('1234the last words');
  expect(console.droppedBytes).toBe(0);
});

test('what the rings had no room for counts as dropped, once, and beyond 2^32', () => {
  const virtio = source('', 7);
  const { serial, console, pump } = make({ virtio });
  pump.pump();
  pump.pump();
  expect(console.droppedBytes).toBe(7);
  serial.droppedBytes = 2 ** 32 - 1;
  pump.pump();
  serial.droppedBytes = 4;
  pump.drain();
  expect(console.droppedBytes).toBe(7 + 2 ** 32 + 4);
});

test('one look takes a bounded amount, the rest comes in later turns', async () => {
  const { serial, console, pump } = make();
  serial.say('x'.repeat(600_000));
  expect(pump.pump()).toBe(256 * 1024);
  await expect.poll(() => serial.outputLength).toBe(0);
  console.finish();
  let length = 0;
  for await (const chunk of console) length += (chunk as Buffer).length;
  expect(length).toBe(600_000);
});
