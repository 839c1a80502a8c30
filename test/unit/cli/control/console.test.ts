/** Attached consoles: all see the output, whoever types is heard, and the guest waits for none of them. */
import { createServer } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { MachineClient } from '../../../../src/cli/control/client.js';
import { consoleCommand } from '../../../../src/cli/control/commands/console.js';
import { status } from '../../../../src/cli/control/commands/status.js';
import { FromMachine, frame, sizeFrame, ToMachine } from '../../../../src/cli/control/frames.js';
import { RemoteConsole } from '../../../../src/cli/control/remote-console.js';
import { placeOf, runtimeDirectory } from '../../../../src/cli/control/runtime-directory.js';
import { ownRuntimeDirectory } from '../../../support/runtime-directory.js';
import { RawClient, socketOf, until, withMachine } from './world.js';

ownRuntimeDirectory();

class Attached {
  text = '';
  readonly gaps: number[] = [];
  readonly remote: RemoteConsole;

  private constructor(client: MachineClient) {
    const { socket, rest } = client.handOver();
    this.remote = new RemoteConsole(socket, rest, (bytes) => this.gaps.push(bytes));
  }

  static async to(name: string): Promise<Attached> {
    const client = await MachineClient.connect(placeOf(runtimeDirectory(), name), name);
    await client.request(consoleCommand, {});
    return new Attached(client);
  }

  read(): this {
    this.remote.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('latin1');
    });
    return this;
  }

  async shows(text: string): Promise<void> {
    await until(() => this.text.includes(text));
  }
}

describe('attached consoles', () => {
  it('begin with what was shown before, and all see all output', async () => {
    await withMachine('web', async ({ machine }) => {
      machine.console.show('before\r\n');
      await turn();
      const consoles = [(await Attached.to('web')).read(), (await Attached.to('web')).read()];
      machine.console.show('\x1b[31m\xff after\r\n');
      for (const each of consoles) {
        await each.shows('after\r\n');
        expect(Buffer.from(each.text, 'latin1').toString('utf8')).toBe('before\r\n\x1b[31m\xff after\r\n');
      }
      machine.end({ reason: 'power-off' });
      await machine.exited;
    });
  });

  it('all type on the guest, beside others, and tell it their size', async () => {
    await withMachine('web', async ({ machine }) => {
      const [first, second] = [await Attached.to('web'), await Attached.to('web')];
      first.remote.write('one\x03');
      await until(() => machine.console.typed === 'one\x03');
      second.remote.write('two\n');
      await until(() => machine.console.typed === 'one\x03two\n');
      first.remote.resize(132, 50);
      await until(() => machine.console.sizes.length === 1);
      second.remote.resize(80, 24);
      await until(() => machine.console.sizes.length === 2);
      expect(machine.console.sizes).toEqual([
        [132, 50],
        [80, 24],
      ]);
      first.remote.destroy();
      second.remote.write('!');
      await until(() => machine.console.typed.endsWith('!'));
    });
  });

  it('end with the machine, after all of its output', async () => {
    const attached: Attached[] = [];
    await withMachine('web', async ({ machine }) => {
      attached.push((await Attached.to('web')).read());
      machine.console.show('last words\r\n');
      machine.end({ reason: 'power-off' });
      await machine.exited;
      await turn();
    });
    await until(() => attached[0]!.remote.readableEnded);
    expect(attached[0]!.text).toBe('last words\r\n');
    expect(attached[0]!.remote.endReason).toBe('power-off');
    attached[0]!.remote.write('too late');
    attached[0]!.remote.resize(80, 24);
  });

  it('wait for a guest that does not read, and lose nothing', async () => {
    await withMachine('web', async ({ machine }) => {
      machine.console.stuck = true;
      const consoles = [await Attached.to('web'), await Attached.to('web')];
      const large = 'x'.repeat(8 << 20);
      for (const { remote } of consoles) remote.write(large);
      for (let i = 0; i < 200; i++) await turn();
      // what the connections are made of holds the rest
      expect(machine.console.writableLength).toBeLessThan(1 << 20);
      machine.console.release();
      await until(() => machine.console.typed.length === 2 * large.length);
    });
  });

  it('that do not read let neither the guest nor memory go; what they missed is counted', async () => {
    await withMachine('web', async ({ machine }) => {
      machine.console.show('begin\n');
      const [slow, quick] = [await Attached.to('web'), (await Attached.to('web')).read()];
      const line = `${'o'.repeat(1023)}\n`;
      const chunk = line.repeat(64);
      const shown = { bytes: 'begin\n'.length };
      for (let i = 0; i < 160; i++) {
        machine.console.show(chunk);
        shown.bytes += chunk.length;
        await until(() => quick.text.length === shown.bytes); // the one that reads is not held up
      }
      slow.read();
      const missed = (): number => slow.gaps.reduce((sum, gap) => sum + gap, 0);
      await until(() => slow.text.length + missed() === shown.bytes);
      expect(missed()).toBeGreaterThan(0);
      expect(slow.text.length).toBeLessThan(4 << 20); // twice what is kept of each, and what sockets hold
      machine.console.show('end\n');
      await slow.shows('end\n');
      expect(slow.text.length + missed()).toBe(shown.bytes + 4);
      expect(quick.gaps).toEqual([]);
    });
  });

  it('that do not read bytes which come one by one take no more memory for it', async () => {
    await withMachine('web', async ({ control }) => {
      const client = await RawClient.connect('web');
      client.socket.write('{"command":"console"}\n');
      await until(() => client.text.includes('result'));
      client.socket.pause();
      for (let i = 0; i < 12; i++) control.consoles.show(Buffer.alloc(64 * 1024, '.')); // until nothing goes out any more
      for (let i = 0; i < 20; i++) await turn();
      const before = process.memoryUsage().heapUsed;
      for (let i = 0; i < 800_000; i++) control.consoles.show(Buffer.from('.'));
      expect(process.memoryUsage().heapUsed - before).toBeLessThan(50 << 20); // a Buffer each would be 100 MB
      client.socket.destroy();
    });
  });

  it('are so many at most, and the next one is told', async () => {
    await withMachine('web', async () => {
      for (let i = 0; i < 16; i++) await Attached.to('web');
      await expect(Attached.to('web')).rejects.toMatchObject({
        code: 'ERR_TSVMM_STATE',
        message: 'web: 16 consoles are attached to it already',
      });
      const client = await MachineClient.connect(placeOf(runtimeDirectory(), 'web'), 'web');
      expect((await client.request(status, {})).state).toBe('running'); // there is room for commands
      client.close();
    });
  });
});

describe('frames that are none', () => {
  it.each([
    ['of another type', Buffer.from([7, 0, 0, 0, 0])],
    ['of a machine', frame(FromMachine.end, Buffer.alloc(0))],
    ['too long', Buffer.from([ToMachine.input, 0xff, 0xff, 0xff, 0xff])],
    ['no size', frame(ToMachine.size, Buffer.from('80x24'))],
    ['a size of nothing', sizeFrame(0, 24)],
  ])('end the connection, and nothing else: %s', async (_what, bytes) => {
    await withMachine('web', async ({ machine }) => {
      const client = await RawClient.connect('web');
      client.socket.write(Buffer.concat([Buffer.from('{"command":"console"}\n'), bytes]));
      client.socket.end();
      await until(() => client.isClosed);
      expect(machine.console.sizes).toEqual([]);
      const next = (await Attached.to('web')).read();
      machine.console.show('still here');
      await next.shows('still here');
    });
  });

  it('of a machine end the console, too', async () => {
    await withMachine('web', async () => {}); // makes the folder
    for (const bytes of [Buffer.from([9]), frame(FromMachine.gap, Buffer.alloc(3))]) {
      const server = createServer((socket) => {
        socket.on('error', () => {});
        socket.write('{"tsvmm":1,"name":"fake","pid":1}\n{"result":{}}\n');
        socket.write(Buffer.concat([frame(FromMachine.output, Buffer.from('text')), bytes]));
      }).listen(socketOf('fake'));
      const attached = (await Attached.to('fake')).read();
      await until(() => attached.remote.readableEnded);
      expect(attached.text).toBe('text');
      expect(attached.remote.endReason).toBeUndefined();
      server.close();
    }
  });
});

it('input that comes behind the request, and in the same piece, is not lost', async () => {
  await withMachine('web', async ({ machine }) => {
    const client = await RawClient.connect('web');
    client.socket.write(
      Buffer.concat([
        Buffer.from('{"command":"status"}\n{"command":"console"}\n'),
        frame(ToMachine.input, Buffer.from('typed ')),
        frame(ToMachine.input, Buffer.from('ahead')),
      ]),
    );
    await until(() => machine.console.typed === 'typed ahead');
    client.socket.destroy();
  });
});
