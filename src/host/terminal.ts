/**
 * Raw mode of the terminal that a guest's console is shown on, and the way back out of it. Main thread.
 *
 * Node itself restores the terminal's modes on `process.exit`, on an uncaught error and on an unhandled SIGINT or
 * SIGTERM; this adds the other ways out (SIGHUP, SIGTSTP, SIGCONT) and undoes what the *guest* asked of the terminal:
 * colours, a hidden cursor, mouse reports, the alternate screen. Nothing can restore it after SIGKILL: `reset` does.
 */
import { readFileSync } from 'node:fs';
import type { Writable } from 'node:stream';

export interface TerminalInput {
  readonly isTTY?: boolean | undefined;
  setRawMode?(on: boolean): unknown;
}

/**
 * True when this process may use its terminal: its process group is the terminal's foreground group. A background
 * process that changes terminal modes is stopped by the kernel (SIGTTOU). proc(5), /proc/pid/stat fields 5 and 8.
 */
export function isForeground(stat: string = readFileSync('/proc/self/stat', 'latin1')): boolean {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // the command name may hold spaces and parentheses
  const [processGroup, foregroundGroup] = [fields[2], fields[5]];
  return processGroup === foregroundGroup;
}

/**
 * Attributes off, cursor shown, ordinary cursor and keypad keys, line wrap on, mouse reports and bracketed paste off:
 * harmless where they already are so (xterm control sequences).
 */
const ordinary = '\x1b[0m\x1b[?25h\x1b[?1l\x1b>\x1b[?7h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l';
const alternateScreen = { on: '\x1b[?1049h', off: '\x1b[?1049l' };

/** End a program by default and are nobody else's here: they end it all the same, but the terminal first. */
const deadly = ['SIGALRM', 'SIGIO', 'SIGPWR', 'SIGUSR2', 'SIGVTALRM', 'SIGXCPU', 'SIGXFSZ'] as const;

/** One terminal in raw mode while a console is on it. Every method may be called at any time, any number of times. */
export class RawTerminal {
  readonly #input: TerminalInput;
  readonly #output: Writable | undefined;
  readonly #process: NodeJS.Process;
  #wanted = false;
  #raw = false;
  /** The last output, so that a sequence cut by two writes is seen. */
  #recent = '';
  #alternate = false;
  readonly #leave = () => this.leave();
  readonly #suspend = () => {
    this.#restore();
    this.#process.kill(this.#process.pid, 'SIGSTOP');
  };
  readonly #continue = () => this.#apply();
  readonly #die = (signal: NodeJS.Signals) => {
    this.leave();
    this.#process.kill(this.#process.pid, signal);
  };

  /** `output`: where the guest's console is shown, if that is a terminal. */
  constructor(input: TerminalInput, output: Writable | undefined, process: NodeJS.Process = globalThis.process) {
    this.#input = input;
    this.#output = output;
    this.#process = process;
  }

  enter(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#process.on('exit', this.#leave).on('SIGTSTP', this.#suspend).on('SIGCONT', this.#continue);
    for (const signal of deadly) this.#process.on(signal, this.#die);
    this.#apply();
  }

  leave(): void {
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#process.off('exit', this.#leave).off('SIGTSTP', this.#suspend).off('SIGCONT', this.#continue);
    for (const signal of deadly) this.#process.off(signal, this.#die);
    this.#restore();
  }

  /** Looks at what the guest shows, to know whether it is on the alternate screen. */
  watch(chunk: Uint8Array): void {
    const text = this.#recent + Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1');
    const on = text.lastIndexOf(alternateScreen.on);
    const off = text.lastIndexOf(alternateScreen.off);
    if (on !== off) this.#alternate = on > off;
    this.#recent = text.slice(-alternateScreen.on.length + 1);
  }

  #apply(): void {
    if (!this.#wanted || !isForeground()) return; // resumed by `bg`: the terminal is the shell's now
    this.#input.setRawMode?.(true);
    this.#raw = true;
  }

  #restore(): void {
    if (!this.#raw) return;
    this.#raw = false;
    this.#input.setRawMode?.(false);
    if (this.#output?.writable) this.#output.write((this.#alternate ? alternateScreen.off : '') + ordinary);
  }
}
