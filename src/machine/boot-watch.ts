/**
 * Looks on at the console while a guest boots: milestones with the guest's own time, and a kernel's panic. Main thread.
 *
 * What it sees is the guest's text: good for a report, never a reason to do anything to the machine. Once the login prompt
 * has come only panics are looked for, and no line is cut out any more.
 */

/** A moment of a boot. */
export interface Milestone {
  readonly name: string;
  /** The kernel's clock, where the line carries it. */
  readonly guestMs?: number;
}

export interface BootWatchHooks {
  /** Once for each name in a power cycle, in the order of `milestones`. */
  milestone(milestone: Milestone): void;
  /** Once in a power cycle. */
  panic(message: string): void;
}

export const loginPrompt = 'guest: login prompt';
/** Linux and systemd as they speak on a console; what is not seen, with `quiet` for instance, is left out. */
const milestones: readonly (readonly [name: string, pattern: RegExp])[] = [
  ['guest: kernel', /Linux version \d/],
  ['guest: initramfs', /Run \/init as init process|Loading, please wait|dracut: dracut-/],
  ['guest: root mounted', /: mounted filesystem |: Ending clean mount|VFS: Mounted root|BTRFS info .*: first mount/],
  ['guest: init', /Run \/\S+ as init process|systemd\[1\]: systemd \S+ running in system mode|^Welcome to /],
  [loginPrompt, /(?:^|\s)login: ?$/],
];
const panicText = 'Kernel panic - not syncing: ';
const panicMark = Buffer.from(panicText);
const stamp = /^\[ {0,4}(\d{1,10}\.\d{6})\]/;
/** A line is looked at up to here; also what is kept of an unfinished one. */
const longestLine = 1024;
/** Of output after the boot: the beginning of a panic, cut off by the end of a chunk. */
const beforePanic = 64;
/** A guest that has no login prompt is not cut into lines for ever. */
const mostBytes = 16 * 1024 ** 2;
const lineFeed = 0x0a;

export class BootWatch {
  readonly #hooks: BootWatchHooks;
  /** The first of `milestones` that has not been passed. */
  #next = 0;
  #line: Buffer = Buffer.alloc(0);
  #seen = 0;
  /** The panic, while nothing but the kernel has spoken since. */
  #panic: { readonly message: string; readonly stamped: boolean } | undefined;
  #told = false;

  constructor(hooks: BootWatchHooks) {
    this.#hooks = hooks;
  }

  /** What the kernel's panic said, if that was the last thing that came: what follows then is its doing. */
  get panic(): string | undefined {
    return this.#panic?.message;
  }

  see(chunk: Buffer): void {
    this.#seen += chunk.length;
    const booting = this.#next < milestones.length && this.#seen <= mostBytes;
    if (!booting && !this.#told && !this.#hasPanic(chunk)) {
      this.#line = Buffer.concat([this.#line, chunk.subarray(-beforePanic)]).subarray(-beforePanic);
      return;
    }
    let rest = this.#line.length === 0 ? chunk : Buffer.concat([this.#line, chunk]);
    for (let end = rest.indexOf(lineFeed); end >= 0; end = rest.indexOf(lineFeed)) {
      this.#look(rest.toString('latin1', 0, Math.min(end, longestLine)).replace(/\r+$/, ''), true);
      rest = rest.subarray(end + 1);
    }
    if (rest.length > 0) this.#look(rest.toString('latin1', 0, longestLine), false);
    this.#line = Buffer.from(rest.subarray(0, longestLine));
  }

  /** Within `chunk`, or from what came before into it. */
  #hasPanic(chunk: Buffer): boolean {
    if (chunk.includes(panicMark)) return true;
    return Buffer.concat([this.#line, chunk.subarray(0, beforePanic)]).includes(panicMark);
  }

  #look(line: string, complete: boolean): void {
    const time = stamp.exec(line)?.[1];
    // A prompt has no end of line; everything else is looked at when it is whole.
    for (let i = complete ? this.#next : milestones.length - 1; i >= this.#next && i < milestones.length; i++) {
      const [name, pattern] = milestones[i]!;
      if (!pattern.test(line)) continue;
      this.#next = i + 1;
      this.#hooks.milestone({ name, ...(time !== undefined && { guestMs: Number(time) * 1e3 }) });
      break;
    }
    if (!complete) return;
    const at = line.indexOf(panicText);
    if (at >= 0 && !line.includes('---[ end')) {
      this.#panic = { message: line.slice(at + panicText.length), stamped: time !== undefined };
      if (!this.#told) this.#hooks.panic(this.#panic.message);
      this.#told = true;
    } else if (this.#panic?.stamped && time === undefined && line !== '') this.#panic = undefined;
  }
}
