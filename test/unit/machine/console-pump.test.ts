import { expect, test } from 'vitest';
import { GuestConsole } from '../../../src/machine/console.js';
import { ConsolePump } from '../../../src/machine/console-pump.js';
import type { ConsoleHost } from '../../../src/virtio/console/console-host.js';
import type { PlatformHost } from '../../../src/virtio/transport/platform-host.js';

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
  options: { buffer?: number; whenUnread?: 'drop-oldest' | 'block'; virtio?: ReturnType<typeof source> } = {},
) {
  const { buffer = 2 ** 20, whenUnread = 'drop-oldest', virtio } = options;
  const serial = source('');
  const console = new GuestConsole({ buffer, whenUnread });
  const pump = new ConsolePump(
    console,
    { serial } as unknown as PlatformHost,
    virtio as unknown as ConsoleHost | undefined,
    (task) => task(),
    () => {},
  );
  console.attach(pump);
  return { serial, console, pump };
}

test('both devices speak on one console; input goes to the one that was chosen', () => {
  const virtio = source('from virtio');
  const { serial, console, pump } = make({ virtio });
  serial.say('early, ');
  expect(pump.pump()).toBe('early, from virtio'.length);
  expect(console.read()?.toString()).toBe('early, from virtio');
  console.write('typed');
  expect([serial.typed, virtio.typed]).toEqual(['', 'typed']);
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
