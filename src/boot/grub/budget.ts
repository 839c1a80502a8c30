/**
 * What one GRUB configuration may cost, of what its disk may. Main thread.
 *
 * A grub.cfg is a program out of a hostile image. Every loop, recursion, string and look-up of the interpreter is paid
 * for here, so that the worst script ends with one clear error after bounded time and memory. Work is counted, not
 * timed, so that the same image always gives the same answer; the clock is only the net under a file system whose
 * look-ups are made slow. Real configurations use less than a hundredth of each limit.
 */
import { TsvmmError } from '../../errors.js';
import { DiskBudget } from '../disk-budget.js';

export const grubLimits = {
  /** Words read and commands run, plus one for each `bytesPerWork` of text they expand to. */
  work: 200_000,
  /** The same for the body of one menu entry. */
  entryWork: 20_000,
  bytesPerWork: 256,
  /** Nested blocks, loops, calls and sourced files, in the text and while running. */
  depth: 100,
  /** Words of one statement, which may be a menu entry or a function with all that is in it. */
  statementWords: 1 << 16,
  /** One configuration file, bytes. */
  fileBytes: 1 << 20,
  /** Everything parsed: files, `eval`, files sourced again. */
  sourceBytes: 4 << 20,
  /** One variable, UTF-16 units. The longest kernel command line is far below. */
  valueLength: 1 << 16,
  /** All arguments of one command. */
  argumentsLength: 1 << 18,
  variables: 4096,
  functions: 1024,
  arguments: 4096,
  /** Menu entries and submenus, all levels. */
  menuItems: 512,
  menuDepth: 8,
  /** Look-ups in file systems that were not answered from memory. */
  fileOperations: 4096,
  /** Text kept from `echo`. */
  echoLength: 1 << 16,
  /** All configurations of a disk together, of the disk's work. */
  milliseconds: 5_000,
} as const;

const hint =
  'the image may be damaged or hostile; pass a kernel with boot: { kernel, initrd, cmdline } to boot without its configuration';

export class Budget {
  readonly #disk: DiskBudget;
  readonly #deadline: number;
  #work = 0;
  #ceiling: number = grubLimits.work;
  #sourceBytes = 0;
  #fileOperations = 0;
  #menuItems = 0;
  #exhausted = false;

  /** `deadline` is when the disk's work is too much. */
  constructor(disk = new DiskBudget(), deadline = disk.work + grubLimits.milliseconds) {
    this.#disk = disk;
    this.#deadline = deadline;
  }

  /** True once a limit of the whole configuration was hit; false if only that of one menu entry was. */
  get exhausted(): boolean {
    return this.#exhausted;
  }

  /** Pays for one step that handled `length` characters. */
  charge(length = 0): void {
    this.#work += 1 + Math.floor(length / grubLimits.bytesPerWork);
    if (this.#work <= this.#ceiling) return;
    if (this.#work > grubLimits.work) throw this.exceeded(`runs more than ${grubLimits.work} commands`);
    throw limitError(`runs more than ${grubLimits.entryWork} commands for one menu entry`);
  }

  /** Now and then lets the event loop turn; undefined when it is not yet time. */
  turn(): Promise<void> | undefined {
    const turn = this.#disk.turn();
    if (turn !== undefined) this.#checkClock();
    return turn;
  }

  /** Pays for text that entries keep: titles, command lines. */
  keep(length: number): void {
    this.#disk.spend('kept', length);
  }

  /** Runs `body` under the limit of one menu entry. */
  async forEntry<T>(body: () => Promise<T>): Promise<T> {
    const outer = this.#ceiling;
    this.#ceiling = Math.min(outer, this.#work + grubLimits.entryWork);
    try {
      return await body();
    } finally {
      this.#ceiling = outer;
    }
  }

  parsed(bytes: number): void {
    this.#sourceBytes += bytes;
    if (this.#sourceBytes > grubLimits.sourceBytes) {
      throw this.exceeded(`reads more than ${grubLimits.sourceBytes} bytes of configuration`);
    }
  }

  fileOperation(): void {
    if (++this.#fileOperations > grubLimits.fileOperations) {
      throw this.exceeded(`looks up more than ${grubLimits.fileOperations} files`);
    }
    this.#checkClock();
  }

  menuItem(): void {
    if (++this.#menuItems > grubLimits.menuItems) {
      throw this.exceeded(`defines more than ${grubLimits.menuItems} menu entries`);
    }
  }

  /** The error of a limit that holds for everything on this disk. */
  exceeded(what: string): TsvmmError {
    this.#exhausted = true;
    return limitError(what);
  }

  #checkClock(): void {
    if (this.#disk.work > this.#deadline) throw this.exceeded(`takes more than ${grubLimits.milliseconds / 1000} s`);
  }
}

function limitError(what: string): TsvmmError {
  return new TsvmmError('ERR_TSVMM_BOOT_NOT_FOUND', `the GRUB configuration ${what}`, { hint });
}
