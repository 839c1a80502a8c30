/** The guest bench/guests/gaps.c, which sees how long its machine stands still: started, asked, told to write memory. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { VirtualMachine } from 'tsvmm';

const kernel = join(process.cwd(), 'build/guests/gaps.elf'); // npm runs scripts in the package's folder
export const pageBytes = 4096;
/** Of its `struct control`. */
const at = { longest: 0, looks: 8, toWrite: 16 } as const;
const patienceMs = 20_000;

export class GapsGuest implements AsyncDisposable {
  readonly vm: VirtualMachine;
  /** Where the pages are that it writes to. */
  readonly room: number;
  readonly #control: number;
  readonly #ticksPerMs: number;

  private constructor(vm: VirtualMachine, control: number, room: number, ticksPerMs: number) {
    this.vm = vm;
    this.room = room;
    this.#control = control;
    this.#ticksPerMs = ticksPerMs;
  }

  static async start(memory: `${number}M`, pages: number): Promise<GapsGuest> {
    const vm = await VirtualMachine.start({ memory, boot: { kernel, cmdline: `pages=${pages}` } });
    const said = await vm.console.waitFor(/gaps: control at 0x[0-9a-f]+, room at 0x[0-9a-f]+, tsc \d+ kHz\n/);
    const [, control, room, khz] = /control at (0x[0-9a-f]+), room at (0x[0-9a-f]+), tsc (\d+) kHz/.exec(said)!;
    return new GapsGuest(vm, Number(control), Number(room), Number(khz));
  }

  /** Writes to so many pages, of those that it was started with. */
  async writePages(count: number): Promise<void> {
    this.#set(at.toWrite, count);
    await this.#until(() => this.#get(at.toWrite) === 0, `has not written ${count} pages`);
  }

  /** The longest time that it stood still while `task` was under way, in milliseconds. */
  async longestGap(task: () => Promise<unknown>): Promise<number> {
    await this.#looksOn();
    this.#set(at.longest, 0);
    await task();
    await this.#looksOn();
    return this.#get(at.longest) / this.#ticksPerMs;
  }

  /** It runs, and has looked since. */
  async #looksOn(): Promise<void> {
    const looks = this.#get(at.looks);
    await this.#until(() => this.#get(at.looks) > looks + 1, 'does not run');
  }

  async #until(reached: () => boolean, what: string): Promise<void> {
    for (const end = performance.now() + patienceMs; !reached(); await delay(1))
      if (performance.now() > end) throw new Error(`the guest gaps ${what}`);
  }

  #get(offset: number): number {
    return Number(this.vm.memory.read(this.#control + offset, 8).readBigUInt64LE());
  }

  #set(offset: number, value: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    this.vm.memory.write(this.#control + offset, bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.vm.kill();
  }
}
