/** Text for people: colours where the stream shows them, and errors in one shape. Main thread. */
import type { Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { asTsvmmError, TsvmmError } from '../errors.js';
import { codeForError } from './exit-codes.js';

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

/** How much of a console tail an error shows. */
const tailLines = 20;

/**
 * An error as lines: what went wrong, `hint:` how to fix it, `code:` to look it up, and with `verbose` the stack. Guest
 * text (the console tail) is shown without its control characters, which could rewrite the reader's terminal.
 */
export function renderError(thrown: unknown, verbose: boolean, paint: Painter): string {
  const known = thrown instanceof TsvmmError;
  const error = asTsvmmError(thrown, 'ERR_TSVMM_STATE');
  const lines = [`${paint('red', 'tsvmm:')} ${known ? '' : 'internal error: '}${printable(error.message)}`];
  if (error.hint !== undefined) lines.push(`${paint('bold', 'hint:')} ${printable(error.hint)}`);
  lines.push(paint('dim', `code: ${error.code} (exit ${codeForError(error.code)})`));
  const tail = printable(error.consoleTail ?? '').trimEnd();
  if (tail !== '')
    lines.push(
      'last lines of the console:',
      ...tail
        .split('\n')
        .slice(-tailLines)
        .map((line) => `  | ${line}`),
    );
  if (verbose) {
    for (const phase of error.phases ?? [])
      lines.push(paint('dim', `  ${phase.name}: ${phase.durationMs.toFixed(1)} ms`));
    for (let cause: unknown = thrown; cause instanceof Error; cause = cause.cause)
      lines.push(paint('dim', cause.stack ?? cause.message));
  }
  return `${lines.join('\n')}\n`;
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
  #midLine = false;

  constructor(io: { readonly stderr: Writable & TerminalLike }) {
    this.#io = io;
  }

  /** Sees what the console shows. */
  watch(chunk: Uint8Array): void {
    this.#midLine = chunk.at(-1) !== lineFeed;
  }

  say(text: string): void {
    const { stderr } = this.#io;
    const apart = this.#midLine && stderr.isTTY === true;
    if (stderr.writable) stderr.write(`${apart ? '\n' : ''}tsvmm: ${printable(text)}\n`);
    this.#midLine = false;
  }
}
const lineFeed = 0x0a;
