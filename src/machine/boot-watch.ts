/**
 * Looks on at the console while a guest boots: milestones with the guest's own time, and a kernel's panic. Main thread.
 *
 * What it sees is the guest's text: good for a report, never a reason to do anything to the machine. Once the login prompt
 * has come only panics are looked for, and nothing is made a string of any more.
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
  ['guest: root mounted', /: mounted filesystem |: Ending clean mount|VFS: Mounted root|: first mount of filesystem /],
  ['guest: init', /Run \/\S+ as init process|systemd\[1\]: systemd \S+ running in system mode|^Welcome to /],
];
/** Has no end of line; everything else is looked at when its line is whole. */
const prompt = /(?:^|\s)login: ?$/;
/** What may still come when the first `n` have passed; a group for each. Linear in what they look through. */
const ahead = milestones.map((_, n) => {
  const groups = milestones.slice(n).map(([, { source }]) => `(${source})`);
  return new RegExp(groups.join('|'), 'gm');
});
const panicText = 'Kernel panic - not syncing: ';
const panicEnd = '---[ end';
const panicMark = Buffer.from(panicText);
const stamp = /^\[ {0,4}(\d{1,10}\.\d{6})\]/;
/** The beginning of a line that is not the kernel's. */
const otherVoice = /^(?!\[ {0,4}\d{1,10}\.\d{6}\])[^\r\n]/gm;
/** What is kept of an unfinished line. */
const longestLine = 1024;
/** Of output after the boot: the beginning of a panic, cut off by the end of a chunk. */
const beforePanic = 64;
/** Of a guest that has no login prompt not everything is looked at for ever. */
const mostBytes = 16 * 1024 ** 2;

export class BootWatch {
  readonly #hooks: BootWatchHooks;
  /** How many of `milestones` have been passed or left out. */
  #passed = 0;
  #prompted = false;
  /** The unfinished line; after the boot, the last bytes. */
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

  /** Takes time in proportion to the chunk, whatever is in it: main has other things to do. */
  see(chunk: Buffer): void {
    this.#seen += chunk.length;
    const booting = !this.#prompted && this.#seen <= mostBytes;
    const both = this.#line.length === 0 ? chunk : Buffer.concat([this.#line, chunk]);
    if (!booting && !this.#panic?.stamped && !both.includes(panicMark)) {
      this.#line = Buffer.from(both.subarray(-beforePanic));
      return;
    }
    const text = both.toString('latin1');
    const whole = text.lastIndexOf('\n') + 1;
    const lines = text.slice(0, whole);
    if (booting) this.#lookForMilestones(lines, text.slice(whole));
    this.#lookForPanic(lines);
    this.#line = Buffer.from(both.subarray(whole, whole + longestLine));
  }

  #lookForMilestones(lines: string, unfinished: string): void {
    for (let at = 0; this.#passed < milestones.length; ) {
      const pattern = ahead[this.#passed]!;
      pattern.lastIndex = at;
      const hit = pattern.exec(lines);
      if (hit === null) break;
      const number = this.#passed + hit.slice(1).findIndex((group) => group !== undefined);
      const line = lines.slice(lines.lastIndexOf('\n', hit.index) + 1, hit.index);
      const time = stamp.exec(line)?.[1];
      this.#passed = number + 1;
      this.#hooks.milestone({
        name: milestones[number]![0],
        ...(time !== undefined && { guestMs: Number(time) * 1e3 }),
      });
      at = lines.indexOf('\n', hit.index) + 1; // a line is one milestone
    }
    if (!prompt.test(unfinished.slice(-longestLine))) return;
    this.#prompted = true;
    this.#hooks.milestone({ name: loginPrompt });
  }

  #lookForPanic(lines: string): void {
    let said = 0; // the end of the last panic
    for (let end = 0, hit = lines.indexOf(panicText); hit >= 0; hit = lines.indexOf(panicText, end)) {
      const start = lines.lastIndexOf('\n', hit) + 1;
      end = lines.indexOf('\n', hit) + 1;
      const line = lines.slice(start, end).trimEnd();
      if (line.includes(panicEnd)) continue;
      said = end;
      this.#panic = { message: line.slice(hit - start + panicText.length), stamped: stamp.test(line) };
      if (!this.#told) this.#hooks.panic(this.#panic.message);
      this.#told = true;
    }
    if (this.#panic?.stamped !== true) return;
    otherVoice.lastIndex = said;
    if (otherVoice.test(lines)) this.#panic = undefined;
  }
}
