import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { MachineClient } from '../../../../src/cli/control/client.js';
import { pause } from '../../../../src/cli/control/commands/pause.js';
import { resume } from '../../../../src/cli/control/commands/resume.js';
import { status } from '../../../../src/cli/control/commands/status.js';
import { stop } from '../../../../src/cli/control/commands/stop.js';
import { Control } from '../../../../src/cli/control/control.js';
import { mostLine } from '../../../../src/cli/control/protocol.js';
import { placeOf, runtimeDirectory } from '../../../../src/cli/control/runtime-directory.js';
import { TsvmmError } from '../../../../src/errors.js';
import { ownRuntimeDirectory } from '../../../support/runtime-directory.js';
import { RawClient, socketOf, until, withMachine } from './world.js';

ownRuntimeDirectory();
const clientOf = (name: string): Promise<MachineClient> =>
  MachineClient.connect(placeOf(runtimeDirectory(), name), name);
const filesLeft = (): string[] => readdirSync(runtimeDirectory());

describe('a machine', () => {
  it('tells what it is, pauses and resumes', async () => {
    await withMachine('web', async ({ machine }) => {
      const client = await clientOf('web');
      expect(client).toMatchObject({ name: 'web', pid: process.pid });
      expect(await client.request(status, {})).toEqual({
        state: 'running',
        uptimeMs: expect.any(Number),
        memory: 64 << 20,
        cpus: 2,
      });
      expect(await client.request(pause, {})).toEqual({});
      expect((await client.request(status, {})).state).toBe('paused');
      await client.request(resume, {});
      expect((await client.request(status, {})).state).toBe('running');
      expect(machine.calls).toEqual(['pause', 'resume']);
      client.close();
    });
    expect(filesLeft()).toEqual([]);
  });

  it('answers what it cannot do, and goes on', async () => {
    await withMachine('web', async ({ machine }) => {
      const client = await clientOf('web');
      const refusal = new TsvmmError('ERR_TSVMM_TIMEOUT', 'requests do not end', { hint: 'look at the disk' });
      machine.pause = () => Promise.reject(refusal);
      await expect(client.request(pause, {})).rejects.toMatchObject({
        code: 'ERR_TSVMM_TIMEOUT',
        message: 'web: requests do not end',
        hint: 'look at the disk',
      });
      machine.pause = () => Promise.reject(new TypeError('a mistake of ours'));
      await expect(client.request(pause, {})).rejects.toMatchObject({ code: 'ERR_TSVMM_STATE' });
      expect((await client.request(status, {})).state).toBe('running');
      client.close();
    });
  });

  it('that starts is there already, and what needs the guest waits for it', async () => {
    await withMachine(
      'web',
      async ({ machine, start }) => {
        const [first, second] = [await clientOf('web'), await clientOf('web')];
        const paused = first.request(pause, {});
        expect((await second.request(status, {})).state).toBe('starting');
        expect(machine.calls).toEqual([]);
        start();
        await paused;
        expect(machine.calls).toEqual(['pause']);
        first.close();
        second.close();
      },
      { start: false },
    );
  });

  it('that never starts says so to who waits', async () => {
    let paused: Promise<unknown> | undefined;
    let stopped: Promise<unknown> | undefined;
    await withMachine(
      'web',
      async ({ steps, ending }) => {
        paused = (await clientOf('web')).request(pause, {});
        stopped = (await clientOf('web')).request(stop, {});
        paused.catch(() => {});
        await until(() => steps.length > 0);
        expect(steps).toEqual(['give-up stop']);
        expect(ending.signal.aborted).toBe(true);
      },
      { start: false },
    );
    await expect(paused).rejects.toThrow('web: the machine did not start');
    expect(await stopped).toEqual({ reason: 'aborted' });
  });

  it('is the only one of its name', async () => {
    await withMachine('web', async ({ ending, forks }) => {
      const another = { name: 'web', memory: 1, cpus: 1, ending, forks };
      await expect(Control.open(another)).rejects.toThrow(`the name web is in use by pid ${process.pid}`);
      await withMachine('web2', async () => {});
      expect(filesLeft()).toEqual(['web.lock', 'web.sock']);
    });
  });

  it('has a socket for its owner alone from the first moment on, in place of a dead one', async () => {
    await withMachine('web', async () => {}); // makes the folder
    const umask = process.umask(0);
    try {
      writeFileSync(socketOf('web'), 'dead', { mode: 0o666 });
      await withMachine('web', async () => {
        expect(statSync(socketOf('web')).mode & 0o7777).toBe(0o600);
        expect(process.umask(0)).toBe(0);
      });
    } finally {
      process.umask(umask);
    }
  });

  it('gives its name back when it has ended, and touches what is there then no more', async () => {
    await withMachine('web', async ({ machine, control }) => {
      machine.end({ reason: 'power-off' });
      await machine.exited;
      await turn();
      expect(filesLeft()).toEqual([]);
      await withMachine('web', async () => {
        await control.close();
        await turn();
        expect(filesLeft()).toEqual(['web.lock', 'web.sock']);
        (await clientOf('web')).close();
      });
    });
  });

  it('removes its files when its process exits', async () => {
    const before = process.listenerCount('exit');
    await withMachine('web', async () => {
      expect(filesLeft()).toEqual(['web.lock', 'web.sock']);
      const listener = process.listeners('exit').at(-1)!;
      (listener as () => void)();
      expect(filesLeft()).toEqual([]);
    });
    expect(process.listenerCount('exit')).toBe(before);
  });

  it('whose socket cannot be made has an error, and its name is free', async () => {
    await withMachine('web', async () => {});
    const listen = vi.spyOn((await import('node:net')).Server.prototype, 'listen').mockImplementation(function (
      this: import('node:net').Server,
    ) {
      process.nextTick(() => this.emit('error', Object.assign(new Error('no room'), { code: 'ENOSPC' })));
      return this;
    });
    await expect(withMachine('web', async () => {})).rejects.toMatchObject({
      code: 'ERR_TSVMM_CONFIG',
      message: expect.stringMatching(/web\.sock cannot be made: ENOSPC/),
    });
    listen.mockRestore();
    expect(filesLeft()).toEqual([]);
  });
});

describe('stop', () => {
  it('asks the guest, and is answered when its name is free', async () => {
    await withMachine('web', async ({ machine, steps }) => {
      const client = await clientOf('web');
      expect(await client.request(stop, { timeoutMs: 1234 })).toEqual({ reason: 'power-off' });
      expect(filesLeft()).toEqual([]);
      expect(machine.calls).toEqual(['stop']);
      expect(machine.stopTimeout).toBe(1234);
      expect(steps).toEqual(['ask stop']);
      client.close();
    });
  });

  it('has the time of tsvmm run unless it says another, forces the guest off then, and at once with kill', async () => {
    await withMachine('web', async ({ machine, steps, ending }) => {
      machine.onStop = () => {};
      const clients = [await clientOf('web'), await clientOf('web'), await clientOf('web')];
      const first = clients[0]!.request(stop, {});
      await until(() => machine.calls.length === 1);
      expect(machine.stopTimeout).toBe(60_000);
      const second = clients[1]!.request(stop, { timeoutMs: 30 }); // sooner
      const third = clients[2]!.request(stop, { timeoutMs: 50_000 }); // later: the sooner one counts
      expect(await Promise.all([first, second, third])).toEqual(Array(3).fill({ reason: 'killed' }));
      expect(steps).toEqual(['ask stop', 'force stop']);
      expect(machine.calls).toEqual(['stop', 'kill']);
      expect(ending.cause).toBe('stop');
      for (const client of clients) client.close();
    });
    await withMachine('web', async ({ machine, steps }) => {
      machine.onStop = () => {};
      expect(await (await clientOf('web')).request(stop, { kill: true })).toEqual({ reason: 'killed' });
      expect(machine.calls).toEqual(['kill']);
      expect(steps).toEqual(['force stop']);
    });
  });

  it('of a machine that a signal asked to end joins in; the cause stays', async () => {
    await withMachine('web', async ({ machine, steps, ending }) => {
      machine.onStop = () => {};
      ending.request('SIGTERM');
      const stopped = (await clientOf('web')).request(stop, { timeoutMs: 20 });
      expect(await stopped).toEqual({ reason: 'killed' });
      expect(steps).toEqual(['ask SIGTERM', 'force stop']);
      expect(ending.cause).toBe('SIGTERM');
    });
  });

  it('counts as a first signal', async () => {
    await withMachine('web', async ({ machine, steps, ending }) => {
      machine.onStop = () => {};
      const stopped = (await clientOf('web')).request(stop, {});
      await until(() => steps.length > 0);
      ending.request('SIGTERM');
      expect(await stopped).toEqual({ reason: 'killed' });
      expect(steps).toEqual(['ask stop', 'force SIGTERM']);
    });
  });
});

describe('a client that is confused or hostile', () => {
  it('is told of each mistake, and heard on', async () => {
    await withMachine('web', async ({ machine }) => {
      const client = await RawClient.connect('web');
      client.socket.write(
        'nonsense\n\n{"command":"fly"}\n{"command":"stop","kill":"yes"}\n\xff\xfe\n{"command":"pause"}\n',
      );
      expect(await client.answered(6)).toEqual({ result: {} });
      for (const { error } of client.answers.slice(0, 5)) expect(error?.['code']).toBe('ERR_TSVMM_CONFIG');
      expect(machine.calls).toEqual(['pause']);
      client.socket.destroy();
    });
  });

  it('may cut its lines as it likes, and close its half after the last', async () => {
    await withMachine('web', async ({ machine }) => {
      const client = await RawClient.connect('web');
      for (const byte of '{"command":"pause"}\n{"command":"resume"}\n') {
        client.socket.write(byte);
        await turn();
      }
      client.socket.end();
      await until(() => client.isClosed);
      expect(client.answers).toEqual([{ result: {} }, { result: {} }]);
      expect(machine.calls).toEqual(['pause', 'resume']);
    });
  });

  it('whose line has no end is told so and sent away', async () => {
    await withMachine('web', async () => {
      const client = await RawClient.connect('web');
      client.socket.write(Buffer.alloc(mostLine - 1, 'x'));
      for (let i = 0; i < 20; i++) await turn();
      expect(client.answers).toEqual([]);
      client.socket.write(Buffer.alloc(1 << 20, 'x'));
      expect((await client.answered(1))['error']?.['message']).toBe(`a line is longer than ${mostLine} bytes`);
      client.socket.end();
      await until(() => client.isClosed);
      (await clientOf('web')).close();
    });
  });

  it('that only asks, and reads no answers, is not listened to any more, and takes no memory', async () => {
    await withMachine('web', async ({ control }) => {
      const asked = vi.spyOn(control, 'state');
      const client = await RawClient.connect('web');
      client.socket.pause();
      const requests = '{"command":"status"}\n'.repeat(1000);
      let sent = 0;
      for (; sent < 200 && client.socket.writableLength < 4 << 20; sent++) {
        client.socket.write(requests);
        await turn();
      }
      const served = async (): Promise<number> => {
        let count: number;
        do {
          count = asked.mock.calls.length;
          for (let i = 0; i < 100; i++) await turn();
        } while (asked.mock.calls.length > count);
        return count;
      };
      const count = await served();
      expect(count).toBeLessThan(sent * 1000); // what its socket's buffers hold of answers
      const other = await clientOf('web');
      expect((await other.request(status, {})).cpus).toBe(2);
      other.close();
      client.socket.resume(); // and is served to the end when it reads
      await until(() => client.answers.length > count + 1000);
      client.socket.destroy();
    });
  });

  it('that floods does not keep the event loop from others', async () => {
    await withMachine('web', async ({ control }) => {
      const asked = vi.spyOn(control, 'state');
      const client = await RawClient.connect('web');
      client.socket.write('{"command":"status"}\n'.repeat(3000));
      let turns = 0;
      while (asked.mock.calls.length < 3000) {
        turns++;
        await turn();
      }
      expect(turns).toBeGreaterThan(2000);
      client.socket.destroy();
    });
  });

  it('that hangs is sent away after a while, but not who waits for the machine', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      await withMachine(
        'web',
        async ({ start }) => {
          const [silent, half, endless, waiting] = [
            await RawClient.connect('web'),
            await RawClient.connect('web'),
            await RawClient.connect('web'),
            await RawClient.connect('web'),
          ];
          half.socket.write('{"comm');
          endless.socket.write(Buffer.alloc(mostLine, 'x'));
          waiting.socket.write('{"command":"pause"}\n');
          const turns = async (): Promise<void> => {
            for (let i = 0; i < 50; i++) await turn();
          };
          await turns();
          vi.advanceTimersByTime(29_000);
          await turns();
          const isClosed = (): boolean[] => [silent, half, endless, waiting].map((client) => client.isClosed);
          expect(isClosed()).toEqual([false, false, false, false]);
          vi.advanceTimersByTime(1001);
          await turns();
          // What they write now meets nobody: that is how they notice.
          for (const client of [silent, half, endless]) client.socket.write('\n');
          await turns();
          expect(isClosed()).toEqual([true, true, true, false]);
          start();
          await turns();
          expect(waiting.answers).toEqual([{ result: {} }]);
          waiting.socket.destroy();
          await turns();
        },
        { start: false },
      );
    } finally {
      vi.useRealTimers();
    }
  });

  it('that opens connections without end has so many, and is told; when they are gone there is room again', async () => {
    await withMachine('web', async () => {
      const clients: RawClient[] = [];
      for (let i = 0; i < 33; i++) clients.push(await RawClient.connect('web'));
      const last = clients.pop()!;
      await until(() => last.isClosed || last.text.includes('\n'));
      expect(JSON.parse(last.text)).toEqual({
        error: { code: 'ERR_TSVMM_STATE', message: '32 connections to this machine are open already' },
      });
      await expect(clientOf('web')).rejects.toThrow('web: 32 connections to this machine are open already');
      for (const client of clients) client.socket.destroy();
      let found: MachineClient | undefined;
      while (found === undefined) found = await clientOf('web').catch(() => undefined);
      found.close();
    });
  });

  it('that goes away at any time is no trouble', async () => {
    await withMachine('web', async ({ machine }) => {
      for (const text of ['', '{"comm', '{"command":"pause"}\n', '{"command":"console"}\n', 'x'.repeat(mostLine + 1)]) {
        const client = await RawClient.connect('web');
        client.socket.write(text);
        client.socket.destroy();
      }
      await until(() => machine.calls.includes('pause'));
      machine.console.show('still here');
      (await clientOf('web')).close();
    });
  });
});

describe('the end of a process', () => {
  it('does not wait for who does not read', async () => {
    const clients: RawClient[] = [];
    await withMachine('web', async ({ machine }) => {
      const client = await RawClient.connect('web');
      clients.push(client);
      client.socket.write('{"command":"console"}\n');
      await until(() => client.text.includes('result'));
      client.socket.pause();
      for (let i = 0; i < 40; i++) machine.console.show('x'.repeat(64 * 1024));
      await turn();
    });
    clients[0]!.socket.resume().end();
    await until(() => clients[0]!.isClosed);
  });
});
