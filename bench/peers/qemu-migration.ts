/**
 * QEMU's microvm written to a file and going on from one, by migration, as QEMU does both; spoken to by QMP on its standard
 * streams.
 */
import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { cleanEnvironment, qemuCpu } from '../harness.js';

export interface QemuGuest {
  readonly kernel: string;
  readonly memoryMiB: number;
  readonly cmdline?: string;
}

export interface QemuRun {
  readonly until: string;
  readonly serial: string;
}

interface Message {
  readonly event?: string;
  readonly data?: { readonly status?: string };
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

export class Qemu implements AsyncDisposable {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #closed: Promise<unknown>;
  readonly #awaited = new Set<(message: Message) => void>();

  private constructor(args: readonly string[]) {
    this.#process = spawn('qemu-system-x86_64', args, { stdio: ['pipe', 'pipe', 'inherit'], env: cleanEnvironment() });
    this.#closed = new Promise((resolve) => this.#process.once('close', resolve));
    let rest = '';
    this.#process.stdout.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop()!;
      for (const line of lines) for (const look of this.#awaited) look(JSON.parse(line) as Message);
    });
  }

  /** Running until its serial port, which writes to a file, has said a word; without that it waits for what it goes on from. */
  static async start({ kernel, memoryMiB, cmdline = '' }: QemuGuest, run?: QemuRun): Promise<Qemu> {
    const qemu = new Qemu([
      ...[
        '-M',
        'microvm,x-option-roms=off,isa-serial=on,rtc=on',
        '-accel',
        'kvm',
        '-cpu',
        qemuCpu,
        '-m',
        `${memoryMiB}`,
      ],
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-kernel', kernel, '-append', cmdline],
      ...['-qmp', 'stdio', '-serial', ...(run === undefined ? ['null', '-incoming', 'defer'] : [`file:${run.serial}`])],
    ]);
    await qemu.#ask('qmp_capabilities');
    await qemu.#ask('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
    // As fast as it can: the default is made for networks.
    await qemu.#ask('migrate-set-parameters', { 'max-bandwidth': 2 ** 40 });
    while (run !== undefined && !readFileSync(run.serial, 'latin1').includes(run.until)) await delay(20);
    return qemu;
  }

  /** Milliseconds from the file to the guest that runs. */
  async restore(file: string): Promise<number> {
    const begun = performance.now();
    await Promise.all([this.#migrated(), this.#ask('migrate-incoming', { uri: `exec:cat ${file}` })]);
    await Promise.all([this.#message(({ event }) => event === 'RESUME'), this.#ask('cont')]);
    return performance.now() - begun;
  }

  /** Milliseconds until the file has the guest, which stands still meanwhile, and the file system has the file. */
  async save(file: string): Promise<number> {
    const begun = performance.now();
    await this.#ask('stop');
    await Promise.all([this.#migrated(), this.#ask('migrate', { uri: `exec:cat > ${file}` })]);
    const { status } = spawnSync('sync', [file]);
    if (status !== 0) throw new Error(`sync ${file} ended with ${status}`);
    return performance.now() - begun;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#closed;
  }

  async #migrated(): Promise<void> {
    const { data } = await this.#message(
      ({ event, data }) => event === 'MIGRATION' && /^(completed|failed)$/.test(data?.status ?? ''),
    );
    if (data?.status !== 'completed') throw new Error('QEMU could not migrate');
  }

  async #ask(execute: string, args?: object): Promise<void> {
    const answer = this.#message((message) => 'return' in message || message.error !== undefined);
    this.#process.stdin.write(`${JSON.stringify({ execute, ...(args !== undefined && { arguments: args }) })}\n`);
    const { error } = await answer;
    if (error !== undefined) throw new Error(`QEMU does not ${execute}: ${error.desc}`);
  }

  #message(wanted: (message: Message) => boolean): Promise<Message> {
    return new Promise((resolve, reject) => {
      const look = (message: Message): void => {
        if (!wanted(message)) return;
        this.#awaited.delete(look);
        resolve(message);
      };
      this.#awaited.add(look);
      void this.#closed.then((code) => reject(new Error(`QEMU ended with ${code}`)));
    });
  }
}
