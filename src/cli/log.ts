/**
 * The logger behind `-v`: pino, loaded only then, written to a stream of ours. Main thread. No transport: those are
 * worker threads that lose lines in a crash.
 */
import type { Writable } from 'node:stream';
import type { Logger } from '../machine/options.js';
import { escapeControls } from './json-events.js';
import { type Painter, painter, printable } from './print.js';

/** Records as lines for people on a terminal, as JSON elsewhere. */
export async function createLogger(output: Writable & { isTTY?: boolean }): Promise<Logger> {
  const { pino } = await import('pino');
  const write = (line: string): void => {
    if (output.writable) output.write(line);
  };
  const paint = painter(output);
  const sink = output.isTTY
    ? { write: (line: string) => write(prettyRecord(line, paint)) }
    : { write: (line: string) => write(escapeControls(line)) };
  const logger: Logger = pino({ level: 'debug', base: { event: 'log' } }, sink);
  return logger;
}

const levels: Readonly<Record<number, readonly [string, 'dim' | 'green' | 'yellow' | 'red']>> = {
  20: ['debug', 'dim'],
  30: ['info', 'green'],
  40: ['warn', 'yellow'],
  50: ['error', 'red'],
};
const ownFields = new Set(['level', 'time', 'event', 'msg', 'err']);

/** One pino record as "12:00:01.250 info  message key=value", with the stack of an error below it. */
export function prettyRecord(line: string, paint: Painter): string {
  const record = JSON.parse(line) as Record<string, unknown>;
  const [name, style] = levels[Number(record['level'])] ?? ['log', 'dim'];
  const time = new Date(Number(record['time'])).toISOString().slice(11, -1);
  const fields = Object.entries(record)
    .filter(([key]) => !ownFields.has(key))
    .map(
      ([key, value]) =>
        ` ${paint('dim', `${key}=`)}${printable(typeof value === 'string' ? value : (JSON.stringify(value) ?? ''))}`,
    );
  const stack = (record['err'] as { stack?: unknown } | undefined)?.stack;
  const message = typeof record['msg'] === 'string' ? ` ${record['msg']}` : '';
  const head = `${paint('dim', time)} ${paint(style, name.padEnd(5))}${printable(message)}${fields.join('')}\n`;
  return typeof stack === 'string' ? `${head}${printable(stack)}\n` : head;
}
