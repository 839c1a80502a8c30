/** Text for people: colours where the stream shows them, and errors in one shape. Main thread. */
import type { Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { asTsvmmError, type Phase, TsvmmError } from '../errors.js';
import type { Diagnosis } from './diagnosis/diagnose.js';
import { codeForError } from './exit-codes.js';
import { cliMessage } from './wording.js';

const styles = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39] } as const;
export type Style = keyof typeof styles;
export type Painter = (style: Style, text: string) => string;

interface TerminalLike {
  isTTY?: boolean;
  hasColors?(): boolean;
}

/** Colours for a stream: on a terminal that has them, and wherever FORCE_COLOR says so; NO_COLOR and TERM=dumb turn them off. */
export function painter(stream: Writable & TerminalLike, env: NodeJS.ProcessEnv = process.env): Painter {
  const forced = (env['FORCE_COLOR'] ?? '') !== '' && env['FORCE_COLOR'] !== '0';
  const shown =
    (env['NO_COLOR'] ?? '') === '' && (forced || (stream.isTTY === true && (stream.hasColors?.() ?? false)));
  return shown ? (style, text) => `\x1b[${styles[style][0]}m${text}\x1b[${styles[style][1]}m` : (_style, text) => text;
}

/** Whether a job of a CI service runs this; some of them, and some people, write what it is not. */
export const isCi = (env: NodeJS.ProcessEnv = process.env): boolean => !['', '0', 'false'].includes(env['CI'] ?? '');

/** How much of a console tail an error shows. */
const tailLines = 20;

/**
 * An error as lines: what went wrong, `hint:` how to fix it, `code:` to look it up, and with `verbose` the stack. Of a boot
 * that failed also the guessed cause, a command to try, and how long each step took. Guest text (the console tail) is shown
 * without its control characters, which could rewrite the reader's terminal. `exitCode` is by the error's code unless given.
 */
export function renderError(
  thrown: unknown,
  verbose: boolean,
  paint: Painter,
  diagnosis?: Diagnosis,
  exitCode?: number,
): string {
  const known = thrown instanceof TsvmmError;
  const error = asTsvmmError(thrown, 'ERR_TSVMM_STATE');
  const { message, hint } = cliMessage(error);
  const lines = [`${paint('red', 'tsvmm:')} ${known ? '' : 'internal error: '}${printable(message)}`];
  if (hint !== undefined) lines.push(`${paint('bold', 'hint:')} ${printable(hint)}`);
  if (diagnosis !== undefined) lines.push(...diagnosisLines(diagnosis, paint));
  lines.push(paint('dim', `code: ${error.code} (exit ${exitCode ?? codeForError(error.code)})`));
  const reached = verbose || error.consoleTail !== undefined || diagnosis !== undefined;
  lines.push(...boot(error.consoleTail ?? '', reached ? (error.phases ?? []) : [], paint));
  if (verbose) {
    for (let cause: unknown = thrown; cause instanceof Error; cause = cause.cause)
      lines.push(paint('dim', cause.stack ?? cause.message));
  }
  return `${lines.join('\n')}\n`;
}

/** What is known of a boot that failed without an error. */
export function renderFailure(
  failed: {
    readonly diagnosis: Diagnosis | undefined;
    readonly consoleTail: string;
    readonly phases: readonly Phase[];
  },
  paint: Painter,
): string {
  const { diagnosis, consoleTail, phases } = failed;
  const lines = diagnosis === undefined ? [] : diagnosisLines(diagnosis, paint);
  return [...lines, ...boot(consoleTail, phases, paint)].map((line) => `${line}\n`).join('');
}

/** The last lines of a console, and how long each step took. */
function boot(consoleTail: string, phases: readonly Phase[], paint: Painter): string[] {
  const tail = printable(consoleTail).trimEnd();
  const shown = tail === '' ? [] : tail.split('\n').slice(-tailLines);
  return [
    ...(shown.length > 0 ? ['last lines of the console:'] : []),
    ...shown.map((line) => `  | ${line}`),
    ...(phases.length > 0 ? ['phases of the start:'] : []),
    ...[...phases].sort((a, b) => a.startMs - b.startMs).map((phase) => paint('dim', `  ${phaseText(phase)}`)),
  ];
}

/** `cause:`, the line that tells, and `try:` a command. */
export function diagnosisLines({ cause, line, next }: Diagnosis, paint: Painter): string[] {
  const evidence = line === undefined ? '' : paint('dim', ` (${printable(line).slice(0, longestEvidence)})`);
  return [
    `${paint('bold', 'cause:')} probably ${printable(cause)}${evidence}`,
    `${paint('bold', 'try:')}   ${printable(next)}`,
  ];
}
const longestEvidence = 160;

/** A step with its time, a moment with when it was and what the guest's clock said. */
function phaseText({ name, startMs, durationMs, guestMs }: Phase): string {
  if (durationMs > 0) return `${name}: ${durationMs.toFixed(1)} ms`;
  return `${name}: at ${startMs.toFixed(1)} ms${guestMs === undefined ? '' : `, ${guestMs.toFixed(1)} ms by its own clock`}`;
}

/** Guest text without escape sequences and control characters other than newline and tab. */
export function printable(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/\r+\n|\r/g, '\n')
    .replace(/(?![\t\n])\p{Cc}/gu, '');
}

/** Columns of text, the last one as long as it is. */
export function table(rows: readonly (readonly string[])[], indent = ''): string {
  const widths: number[] = [];
  for (const row of rows)
    row.slice(0, -1).forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  return rows
    .map(
      (row) => indent + row.map((cell, i) => (i < row.length - 1 ? cell.padEnd(widths[i]! + 2) : cell)).join('') + '\n',
    )
    .join('');
}

/** What the program itself says on stderr while a console is shown: on a terminal that both share, on lines of its own. */
export class Notices {
  readonly #io: { readonly stderr: Writable & TerminalLike };
  readonly #quiet: boolean;
  #midLine = false;

  /** `quiet`: says errors only. */
  constructor(io: { readonly stderr: Writable & TerminalLike }, quiet = false) {
    this.#io = io;
    this.#quiet = quiet;
  }

  /** Sees what the console shows. */
  watch(chunk: Uint8Array): void {
    this.#midLine = chunk.at(-1) !== lineFeed;
  }

  say(text: string): void {
    if (!this.#quiet) this.complain(text);
  }

  /** An error: said to those as well who want no notices. */
  complain(text: string): void {
    this.beginLine();
    const { stderr } = this.#io;
    if (stderr.writable) stderr.write(`tsvmm: ${printable(text)}\n`);
  }

  /** For what comes next on stderr. */
  beginLine(): void {
    const { stderr } = this.#io;
    if (this.#midLine && stderr.isTTY === true && stderr.writable) stderr.write('\n');
    this.#midLine = false;
  }
}
const lineFeed = 0x0a;
