/**
 * What is told of a machine when a test of it has failed: how it is, its warnings, and the newest lines of its console. Main
 * thread.
 *
 * It goes to a terminal, and the guest wrote most of it: of a line only what can be printed is shown. Each begins with a bar, so
 * that no line of a guest's own stack traces is taken for one of the test's.
 */
import { stripVTControlCharacters } from 'node:util';
import { printable } from '../boot/entries/printable.js';
import type { VmExit, Warning } from '../index.js';

export interface Seen {
  readonly name: string;
  /** Its state, or how it ended. */
  readonly state: string;
  readonly warnings: readonly Warning[];
  readonly console: string;
}

const mostLines = 50;
const mostWarnings = 10;
const longestLine = 300;

export function report({ name, state, warnings, console }: Seen): string {
  const lines = linesOf(console);
  const shown = lines.slice(-mostLines);
  const older = lines.length > shown.length ? `, the last ${mostLines} of ${lines.length} lines` : '';
  return [
    `machine ${name}: ${safe(state)}`,
    ...warnings.slice(-mostWarnings).map((warning) => `warning: ${warningText(warning)}`),
    ...(warnings.length > mostWarnings ? [`${warnings.length - mostWarnings} earlier warnings`] : []),
    ...(shown.length === 0
      ? ['console: nothing was printed']
      : [`console${older}:`, ...shown.map((line) => `| ${line}`)]),
  ].join('\n');
}

/** How a machine ended, in a few words. */
export function ending(exit: VmExit): string {
  if (exit.reason === 'error') return `ended by an error: ${exit.error.message}`;
  if (exit.reason === 'panic') return `ended by a panic: ${exit.message}`;
  if (exit.reason === 'aborted') return `ended by its signal: ${String(exit.cause)}`;
  return `ended: ${exit.reason}${exit.debugExit === undefined ? '' : `, debug exit ${exit.debugExit}`}`;
}

function linesOf(console: string): string[] {
  const lines = console.split('\n').map(safe);
  while (lines.at(-1) === '') lines.pop();
  return lines;
}

function safe(line: string): string {
  const text = printable(stripVTControlCharacters(line).replace(/\r+$/, '').replaceAll('\t', '  '));
  return text.length > longestLine ? `${text.slice(0, longestLine)}…` : text;
}

function warningText({ source, device, message, suppressed }: Warning): string {
  const whose = device === undefined ? source : `${source}, ${device}`;
  return safe(`${message} (${whose}${suppressed === 0 ? '' : `, ${suppressed} more like it`})`);
}
